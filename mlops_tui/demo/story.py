"""The story: from a file to a monitored, safely rolled-out model. Every line is a call that a person could make."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mlops_tui.client import Client
from mlops_tui.contracts.operation import Started
from mlops_tui.core.errors import MlopsError, Refused
from mlops_tui.demo.summary import Summary

MODEL = SERVICE = "employment"
SHIFTED = "AGEP >= 60"
"""The sub-population whose traffic makes the drift: stated openly, since the years alone hardly differ."""
HARMED = "age BETWEEN 25 AND 54"
"""Where version 3 learns the wrong labels, on purpose."""
DELAY_S = 0.3
"""How late the labels come."""
PATIENCE_S = 60.0


class Story:
    """The demo's steps, in order; each leaves in the store what the next one reads."""

    def __init__(self, client: Client, sample: Path, summary: Summary) -> None:
        self.client, self.sample, self.summary = client, sample, summary

    def tell(self) -> None:
        """Tell it to the end."""
        self.take_in_data()
        self.refuse_a_broken_file()
        self.compute_features()
        self.make_version(1, ["census-2015"], [])
        self.serve()
        self.replay_a_year()
        self.make_version(
            2, ["census-2015", "census-2016+labels-2016"], ["--epochs", "6", "--width", "48", "--seed", "1"]
        )
        self.roll_out_safely()
        self.watch_it_drift()
        self.make_version(3, ["census-2015"], ["--flip-labels-where", HARMED], harmful=True)
        self.stop_the_harm()
        self.compare_versions()
        self.prove_it()

    def take_in_data(self) -> None:
        """Every file becomes a data set version: content hash, schema, profile, checks."""
        with self.summary.step("data", "ingest, version and validate data") as step:
            census, checks = self.sample / "census", str(self.sample / "project" / "checks.yaml")
            begun = [
                (f"census-{year}", {"path": str(census / f"employment_{year}.parquet"), "checks": checks})
                for year in (2015, 2016, 2017, 2018)
            ]
            begun += [
                (f"labels-{year}", {"path": str(census / f"labels_{year}.parquet")}) for year in (2016, 2017, 2018)
            ]
            started = [
                self.client.call("data.add", {"name": name, "residency": "US", "classification": "public", **body})
                for name, body in begun
            ]
            results = [self.client.follow(one) for one in started]
            step.figures = {
                "data_sets": len(results),
                "rows": sum(result["rows"] for result in results),
                "versions": {r["data"]: r["digest"] for r in results},
            }
            step.text = f"{len(results)} data sets, {step.figures['rows']:,} rows"

    def refuse_a_broken_file(self) -> None:
        """A broken file is refused with the row and the column."""
        with self.summary.step("refusal", "refuse a broken file") as step:
            body = {
                "name": "census-2015",
                "path": str(self.sample / "census" / "broken.csv"),
                "checks": str(self.sample / "project" / "checks.yaml"),
            }
            try:
                self.client.run_job("data.add", body)
            except Refused as refusal:
                step.text, step.figures = refusal.why.split(";")[0], {"why": refusal.why}
            else:
                raise MlopsError("the broken file was taken in", "its checks let it pass")

    def compute_features(self) -> None:
        """Named, versioned definitions; the same SQL for training, serving and replay."""
        with self.summary.step("features", "define features") as step:
            done = self.client.call(
                "feature.apply", {"path": str(self.sample / "project" / "features.yaml"), "name": MODEL}
            )
            step.text, step.figures = done.text, {"features": self.client.call("feature.list", {"limit": 1}).total}

    def make_version(self, version: int, data: list[str], options: list[str], *, harmful: bool = False) -> None:
        """Training set, supervised training, gates, registration."""
        run = f"{MODEL}-v{version}"
        with self.summary.step(
            f"train-{version}", f"train version {version}" + (" (harmful on purpose)" if harmful else "")
        ) as step:
            table = self.client.run_job(
                "feature.training-set", {"data": data, "name": f"train-v{version}", "view": MODEL}
            )
            script = str(self.sample / "project" / "train.py")
            self.client.run_job(
                "job.train",
                {
                    "script": script,
                    "args": options,
                    "name": run,
                    "experiment": MODEL,
                    "data": [f"training-set={table['data']}"],
                    "retries": 2,
                },
            )
            shown = self._settled(run)
            metrics = {metric.key: metric.last for metric in shown.metrics}
            step.figures = {"run": shown.id, "rows": table["rows"], "metrics": metrics}
            step.text = f"AUC {metrics['auc']:.3f}, accuracy {metrics['accuracy']:.3f}, ONNX agrees to {metrics['onnx_max_abs_diff']:.0e}"
        with self.summary.step(f"gates-{version}", f"judge version {version} by the gates") as step:
            champion = f"{MODEL}@champion" if version > 1 else ""
            report = self.client.run_job("gate.run", {"run": run, "champion": champion})
            step.figures = {
                one["gate"]: {"passed": one["passed"], "value": one["value"], "text": one["text"]}
                for one in report["results"]
            }
            step.text = " ".join(f"{one['gate']} {'✔' if one['passed'] else '✖'}" for one in report["results"])
            if not report["passed"] and not harmful:
                raise Refused(
                    f"version {version} does not pass the gates",
                    "; ".join(one["text"] for one in report["results"] if not one["passed"]),
                )
        with self.summary.step(f"register-{version}", f"register version {version}") as step:
            made = self.client.call(
                "model.register",
                {"name": MODEL, "run": run, "artifact": "model/model.onnx", "require_gates": not harmful},
            )
            if version == 1:
                self.client.call(
                    "model.alias", {"model": f"{MODEL}@1", "alias": "champion"}, reason="the first version"
                )
            step.figures = {
                "model": f"{MODEL}@{made.version}",
                "digest": made.digest,
                "size": made.size,
                "datasets": made.datasets,
            }
            step.text = f"{MODEL}@{made.version}, {made.size:,} bytes" + (", alias champion" if version == 1 else "")

    def serve(self) -> None:
        """An own process that speaks the Open Inference Protocol, watched for drift."""
        with self.summary.step("serve", "serve it and watch it") as step:
            self.client.call("deploy.create", {"name": SERVICE, "model": f"{MODEL}@champion"})
            shown = self._until(
                lambda: self.client.call("deploy.show", {"deployment": SERVICE}),
                lambda one: one.status == "serving",
                "the server is up",
            )
            self.client.run_job(
                "monitor.add", {"deployment": SERVICE, "window_s": 8.0, "every_s": 1.0, "min_rows": 300, "k": 2, "n": 3}
            )
            step.text, step.figures = shown.url, {"url": shown.url, "pid": shown.pid}

    def replay_a_year(self) -> None:
        """2016 as live traffic, with labels that come later."""
        with self.summary.step("replay-2016", "replay 2016 as live traffic") as step:
            result = self._replay("2016", rows=4000, batch=4, rate=250)
            drift = self._judged()
            step.figures = {**result, "drift": drift.verdict, "quality": self._quality(drift)}
            step.text = f"{result['rows']:,} rows, {result['failed']} failed, {drift.text}"

    def roll_out_safely(self) -> None:
        """Version 2 comes in step by step; the harm test looks at real, late-labelled traffic."""
        with self.summary.step("canary-2", "canary version 2, then promote") as step:
            rollout, traffic = self._canary(f"{MODEL}@2", "2017")
            step.figures = {**_evidence(rollout), "traffic": traffic}
            step.text = f"{rollout.state}: {rollout.text}"
            if rollout.state != "Succeeded":
                raise MlopsError(f"the rollout of version 2 is {rollout.state}", rollout.text)
            self.client.call(
                "model.alias",
                {"model": f"{MODEL}@2", "alias": "champion", "expect": 1},
                reason="its canary did no harm",
            )

    def watch_it_drift(self) -> None:
        """2018, then a sub-population of it: the shift that this demo makes, openly."""
        with self.summary.step("replay-2018", "replay 2018") as step:
            result = self._replay("2018", rows=3000, batch=4, rate=300)
            drift = self._judged()
            step.figures, step.text = {**result, "drift": drift.verdict}, f"{result['rows']:,} rows, {drift.text}"
        with self.summary.step("drift", f"replay only {SHIFTED}: drift, alert, proposal") as step:
            result = self._replay("2018", rows=3000, batch=4, rate=300, where=SHIFTED)
            found = self._until(
                lambda: self.client.call("alert.list", {"filter": "state:open rule:drift"}),
                lambda table: table.total > 0,
                "an alert opens",
            )
            proposals = self.client.call("automation.list", {"filter": "state:proposed kind:retrain"})
            drift = self.client.call("drift.show", {"deployment": SERVICE})
            worst = drift.features[0]
            step.figures = {
                **result, "alert": dict(zip([c.name for c in found.columns], found.rows[0], strict=True)), "proposals": proposals.total,
                "worst": {"feature": worst.feature, "psi": worst.psi, "js": worst.js},
            }  # fmt: skip
            step.text = f"{worst.feature} PSI {worst.psi:.2f}; retraining is proposed"
            if not proposals.total:
                raise MlopsError("no retraining was proposed", "the alert opened without one")

    def stop_the_harm(self) -> None:
        """Version 3 learned wrong labels: nothing fails, yet late labels show the harm and it is rolled back."""
        with self.summary.step("canary-3", "canary version 3: caught and rolled back") as step:
            rollout, traffic = self._canary(f"{MODEL}@3", "2018")
            step.figures = {**_evidence(rollout), "traffic": traffic}
            step.text = f"{rollout.state}: {rollout.text}"
            caught = any(event.state == "RollingBack" for event in rollout.events)
            if rollout.state != "RolledBack" or not caught:
                raise MlopsError(f"the harmful version is {rollout.state}", "the analysis did not catch it")

    def compare_versions(self) -> None:
        """Version 1 against 2 on late labels: a verdict, or how much more data it would take."""
        with self.summary.step("ab", "A/B test of version 1 against 2") as step:
            self.client.call(
                "ab.start",
                {"deployment": SERVICE, "a": f"{MODEL}@1", "b": f"{MODEL}@2", "margin": 0.05, "name": "v1-v2"},
            )
            self._until(
                lambda: self.client.call("deploy.show", {"deployment": SERVICE}),
                lambda one: one.acknowledged >= one.generation,
                "the split is in force",
            )
            result = self._replay("2018", rows=5000, batch=1, rate=0, prefix="ab-")
            test = self._until(
                lambda: self.client.call("ab.status", {"test": "v1-v2"}),
                lambda one: sum(arm.n for arm in one.arms) >= result["labels"],
                "the labels are in",
            )
            self.client.call("ab.stop", {"test": "v1-v2"})
            step.figures = {
                "verdict": test.verdict, "difference": test.difference, "low": test.low, "high": test.high, "needed": test.needed,
                "arms": {arm.arm: {"n": arm.n, "mean": arm.mean} for arm in test.arms},
            }  # fmt: skip
            step.text = test.text

    def prove_it(self) -> None:
        """Everything that was done is in the audit chain, and the chain verifies."""
        with self.summary.step("audit", "verify the audit chain") as step:
            verdict = self.client.call("audit.verify")
            lineage = self.client.call("lineage.show", {"subject": f"{MODEL}@champion"})
            step.figures = {
                "records": verdict.records,
                "checkpoints": verdict.checkpoints,
                "root": verdict.root,
                "lineage": [node.name for node in lineage.nodes],
            }
            step.text = verdict.text
            if not verdict.ok:
                raise MlopsError("the audit chain does not verify", verdict.text)

    def _canary(self, model: str, year: str) -> tuple[Any, dict[str, Any]]:
        """Start a canary under replayed traffic and wait for its end."""
        body = {
            "deployment": SERVICE,
            "model": model,
            "steps": [10.0, 30.0, 60.0],
            "step_s": 3.0,
            "look_s": 1.0,
            "min_requests": 150,
            "max_ratio": 1.5,
        }
        started = self.client.call("rollout.start", body)
        traffic = self._begin_replay(year, batch=1, rate=500, prefix=f"canary-{started.canary}-")
        rollout = self._until(
            lambda: self.client.call("rollout.status", {"rollout": started.id}),
            lambda one: one.ended is not None or self._over(traffic),
            f"the canary of {model} ends",
        )
        rollout = self._until(
            lambda: self.client.call("rollout.status", {"rollout": started.id}),
            lambda one: one.ended is not None,
            "the canary ends",
        )
        if not self._over(traffic):
            self.client.call("job.stop", {"job": traffic.job})
        return rollout, {"job": traffic.job}

    def _over(self, started: Started) -> bool:
        return self.client.call("job.show", {"job": started.job}).status not in ("queued", "running")

    def _begin_replay(self, year: str, **options: Any) -> Started:
        body = {
            "deployment": SERVICE,
            "data": f"census-{year}",
            "labels": f"labels-{year}",
            "label_column": "employed",
            "label_delay_s": DELAY_S,
            **options,
        }
        started: Started = self.client.call("deploy.replay", body)
        return started

    def _replay(self, year: str, **options: Any) -> dict[str, Any]:
        return self.client.follow(self._begin_replay(year, **{"prefix": f"{year}-{time.monotonic_ns()}-", **options}))

    def _judged(self) -> Any:
        """Return drift once it was judged after now."""
        before = self.client.call("drift.show", {"deployment": SERVICE}).ts or 0
        return self._until(
            lambda: self.client.call("drift.show", {"deployment": SERVICE}),
            lambda one: (one.ts or 0) > before,
            "drift is judged",
        )

    def _quality(self, drift: Any) -> dict[str, Any] | None:
        newest = drift.quality[-1] if drift.quality else None
        return (
            {"accuracy": newest.accuracy, "coverage": newest.coverage, "n": newest.n, "estimated": newest.estimated}
            if newest
            else None
        )

    def _settled(self, run: str) -> Any:
        """Return a run once its last words have been taken in."""
        return self._until(
            lambda: self.client.call("run.show", {"run": run}),
            lambda one: one.ended is not None and len(one.artifacts) >= 2,
            "the run is complete",
        )

    def _until(self, ask: Any, good: Any, what: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = ask()
            if good(found):
                return found
            if time.monotonic() > deadline:
                raise MlopsError(
                    f"it did not come to pass that {what}",
                    f"waited {PATIENCE_S:g} s",
                    "mlops event list shows how far it came",
                )
            time.sleep(0.1)


def _evidence(rollout: Any) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for look in rollout.looks:
        last.setdefault(
            look.event,
            {
                "bad_canary": look.bad_canary,
                "n_canary": look.n_canary,
                "bad_stable": look.bad_stable,
                "n_stable": look.n_stable,
                "log_e_harm": look.log_e_harm,
                "verdict": look.verdict,
            },  # fmt: skip
        )
    return {
        "state": rollout.state,
        "looks": len(rollout.looks),
        "evidence": last,
        "timeline": [f"{event.state}: {event.text}" for event in rollout.events],
    }
