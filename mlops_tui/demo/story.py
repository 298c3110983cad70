"""The story: from a file to a monitored, safely rolled-out model, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlops_tui.core.errors import MlopsError, Refused
from mlops_tui.demo.hand import Hand
from mlops_tui.demo.summary import Summary


class Story:
    """The demo's steps, in order; each leaves in the store what the next one reads."""

    def __init__(self, hand: Hand, summary: Summary) -> None:
        self.hand, self.client, self.name, self.step = hand, hand.client, hand.name, summary.step
        self.replays: dict[str, str] = hand.project["replay"]

    def tell(self, until: str = "") -> None:
        """Tell it part by part, to the end or up to a part of ``PARTS``; the proof comes last in any case."""
        for name, part in PARTS.items():
            part(self)
            if name == until:
                break
        self.prove_it()

    def take_in_data(self) -> None:
        """Every file becomes a data set version: content hash, schema, profile, checks."""
        with self.step("data", "ingest, version and validate data") as step:
            facts = {"residency": "US", "classification": "public"}
            started = [
                self.client.call("data.add", {"name": path.stem, "path": str(path), "checks": checks, **facts})
                for pattern, checks in ((f"{self.name}_*.parquet", self.hand.file("checks")), ("labels_*.parquet", ""))
                for path in sorted(self.hand.raw.resolve().glob(pattern))
            ]
            results = [self.client.follow(one) for one in started]
            rows = sum(result["rows"] for result in results)
            step.figures = {"rows": rows, "versions": {result["data"]: result["digest"] for result in results}}
            step.text = f"{len(results)} data sets, {rows:,} rows"

    def refuse_a_broken_file(self) -> None:
        """A broken file is refused with the row and the column."""
        with self.step("refusal", "refuse a broken file") as step:
            broken = {"name": "broken", "path": str(self.hand.raw.resolve() / "broken.csv")}
            try:
                self.client.run_job("data.add", {**broken, "checks": self.hand.file("checks")})
            except Refused as refusal:
                step.text, step.figures = refusal.why.split(";")[0], {"why": refusal.why}
            else:
                raise MlopsError("the broken file was taken in", "its checks let it pass")

    def define_features(self) -> None:
        """Named, versioned definitions; the same SQL for training, serving and replay."""
        with self.step("features", "define features") as step:
            done = self.client.call("feature.apply", {"path": self.hand.file("features"), "name": self.name})
            step.text, step.figures = done.text, {"features": self.client.call("feature.list", {"limit": 1}).total}

    def make_version(self, version: int, *, harmful: bool = False) -> None:
        """Training set, supervised training, gates, registration."""
        run = f"{self.name}-v{version}"
        self._train(version, run, " (harmful on purpose)" if harmful else "")
        self._judge(version, run, harmful)
        with self.step(f"register-{version}", f"register version {version}") as step:
            wanted = {"name": self.name, "run": run, "artifact": "model/model.onnx", "require_gates": not harmful}
            made = self.client.call("model.register", wanted)
            step.text = f"{self.name}@{made.version}, {made.size:,} bytes"
            lineage = self.client.call("lineage.show", {"subject": f"{self.name}@{made.version}"})
            names = [node.name for node in lineage.nodes]
            step.figures = {"version": made.version, "digest": made.digest, "datasets": made.datasets, "lineage": names}
            if version == 1:
                first = {"model": f"{self.name}@1", "alias": "champion"}
                self.client.call("model.alias", first, reason="the first version")
                step.text += ", alias champion"

    def _train(self, version: int, run: str, remark: str) -> None:
        with self.step(f"train-{version}", f"train version {version}{remark}") as step:
            wanted = self.hand.project[f"v{version}"]
            data = [self.hand.labelled(file) for file in wanted["data"]]
            table = self.client.run_job(
                "feature.training-set", {"data": data, "name": f"train-v{version}", "view": self.name}
            )
            arguments = [*wanted["args"], "--dataset", table["data"]]
            job = {"script": self.hand.file("train"), "args": arguments, "name": run, "experiment": self.name}
            self.client.run_job("job.train", {**job, "data": [f"train={table['data']}"], "retries": 3})
            shown = self.hand.settled_run(run)
            metrics = {metric.key: metric.last for metric in shown.metrics}
            step.figures = {"run": shown.id, "rows": table["rows"], "metrics": metrics}
            agrees = f"ONNX agrees to {metrics['onnx_max_abs_diff']:.0e}"
            step.text = f"AUC {metrics['auc']:.3f}, accuracy {metrics['accuracy']:.3f}, {agrees}"

    def _judge(self, version: int, run: str, harmful: bool) -> None:
        with self.step(f"gates-{version}", f"judge version {version} by the gates") as step:
            champion = f"{self.name}@champion" if version > 1 else ""
            wanted = {"run": run, "champion": champion, "policy": self.hand.file("gates")}
            results = self.client.run_job("gate.run", wanted)["results"]
            step.figures = {one["gate"]: {key: one[key] for key in ("passed", "value", "text")} for one in results}
            step.text = "  ".join(f"{one['gate']} {'✔' if one['passed'] else '✖'}" for one in results)
            failed = [one["text"] for one in results if not one["passed"]]
            if failed and not harmful:
                raise Refused(f"version {version} does not pass the gates", "; ".join(failed))

    def serve(self) -> None:
        """An own process that speaks the Open Inference Protocol, watched for drift."""
        with self.step("serve", "serve it and watch it") as step:
            self.client.call("deploy.create", {"name": self.name, "model": f"{self.name}@champion"})
            shown = self.hand.until(self.hand.deployment, lambda one: one.status == "serving", "the server is up")
            self.hand.watch()
            step.text, step.figures = shown.url, {"url": shown.url, "pid": shown.pid}

    def replay_a_year(self) -> None:
        """A year as live traffic, with labels that come later."""
        with self.step("replay-first", f"replay {self.replays['first']}") as step:
            result = self.hand.replay(self.replays["first"], rows=4000, batch=4, rate=300)
            drift = self.hand.drift()
            newest = drift.quality[-1] if drift.quality else None
            seen = {"accuracy": newest.accuracy, "coverage": newest.coverage, "n": newest.n} if newest else None
            step.figures = {**result, "drift": drift.verdict, "quality": seen}
            step.text = f"{result['rows']:,} rows, {result['failed']} failed, {drift.text}"

    def roll_out_safely(self) -> None:
        """Version 2 comes in step by step; the harm test looks at real, late-labelled traffic."""
        with self.step("canary-2", "canary version 2, then promote") as step:
            rollout = self.hand.canary(f"{self.name}@2", self.replays["canary"])
            step.figures, step.text = _evidence(rollout), f"{rollout.state}: {rollout.text}"
            if rollout.state != "Succeeded":
                raise MlopsError(f"the rollout of version 2 is {rollout.state}", rollout.text)
            champion = {"model": f"{self.name}@2", "alias": "champion", "expect": 1}
            self.client.call("model.alias", champion, reason="its canary did no harm")
            self.client.call("monitor.remove", {"deployment": self.name}, reason="a new version, a new reference")
            self.hand.watch()

    def watch_it_drift(self) -> None:
        """A later year, then a sub-population of it: the shift that this demo makes, openly."""
        later, shift = self.replays["later"], self.replays["shift"]
        with self.step("replay-later", f"replay {later}") as step:
            result = self.hand.replay(later, rows=3000, batch=4, rate=300)
            drift = self.hand.drift()
            step.figures, step.text = {**result, "drift": drift.verdict}, f"{result['rows']:,} rows, {drift.text}"
        with self.step("drift", f"replay only {shift}") as step:
            result = self.hand.replay(later, rows=3000, batch=4, rate=300, where=shift)
            alerts = self.hand.until(
                lambda: self.client.call("alert.list", {"filter": "state:open rule:drift"}),
                lambda table: table.total > 0,
                "an alert opens",
            )
            proposals = self.client.call("automation.list", {"filter": "state:proposed kind:retrain"}).total
            worst = self.client.call("drift.show", {"deployment": self.name}).features[0]
            found = {"alert": _row(alerts), "proposals": proposals, "worst": worst.feature}
            step.figures = {**result, **found, "psi": worst.psi, "js": worst.js}
            step.text = f"{worst.feature} PSI {worst.psi:.2f}: an alert opens, retraining is proposed"
            if not proposals:
                raise MlopsError("no retraining was proposed", "the alert opened without one")

    def stop_the_harm(self) -> None:
        """Version 3 learned wrong labels: nothing fails, yet late labels show the harm and it is rolled back."""
        with self.step("canary-3", "canary version 3: caught") as step:
            rollout = self.hand.canary(f"{self.name}@3", self.replays["later"])
            caught = next((event.text for event in rollout.events if event.state == "RollingBack"), "")
            step.figures, step.text = _evidence(rollout), f"{rollout.state}: {caught or rollout.text}"
            if rollout.state != "RolledBack":
                raise MlopsError(f"the harmful version is {rollout.state}", "the analysis did not catch it")

    def compare_versions(self) -> None:
        """Version 1 against 2 on late labels: a verdict, or how much more data it would take."""
        with self.step("ab", "A/B test of version 1 against 2") as step:
            arms = {"a": f"{self.name}@1", "b": f"{self.name}@2", "name": "v1-v2"}
            self.client.call("ab.start", {"deployment": self.name, "margin": 0.05, **arms})
            in_force = "the split is in force"
            self.hand.until(self.hand.deployment, lambda one: one.acknowledged >= one.generation, in_force)
            result = self.hand.replay(self.replays["later"], rows=5000)
            test = self.hand.until(
                lambda: self.client.call("ab.status", {"test": "v1-v2"}),
                lambda one: sum(arm.n for arm in one.arms) >= result["labels"],
                "the labels are in",
            )
            self.client.call("ab.stop", {"test": "v1-v2"})
            figures = ("verdict", "difference", "low", "high", "needed")
            counts = {arm.arm: {"n": arm.n, "mean": arm.mean} for arm in test.arms}
            step.figures, step.text = {**{key: getattr(test, key) for key in figures}, "arms": counts}, test.text

    def prove_it(self) -> None:
        """Everything that was done is in the audit chain, and the chain verifies."""
        with self.step("audit", "verify the audit chain") as step:
            verdict = self.client.call("audit.verify")
            step.figures = {"records": verdict.records, "root": verdict.root}
            step.text = verdict.text
            if not verdict.ok:
                raise MlopsError("the audit chain does not verify", verdict.text)


def _evidence(rollout: Any) -> dict[str, Any]:
    """Return a rollout's last look of each event, and its timeline."""
    keys = ("bad_canary", "n_canary", "bad_stable", "n_stable", "log_e_harm", "log_e_safe", "verdict")
    last: dict[str, Any] = {}
    for look in rollout.looks:
        last.setdefault(look.event, {key: getattr(look, key) for key in keys})
    timeline = [f"{event.state}: {event.text}" for event in rollout.events]
    return {"state": rollout.state, "looks": len(rollout.looks), "evidence": last, "timeline": timeline}


def _row(table: Any) -> dict[str, Any]:
    return dict(zip([column.name for column in table.columns], table.rows[0], strict=True))


PARTS: dict[str, Callable[[Story], None]] = {
    "data": Story.take_in_data,
    "refusal": Story.refuse_a_broken_file,
    "features": Story.define_features,
    "v1": lambda story: story.make_version(1),
    "serve": Story.serve,
    "traffic": Story.replay_a_year,
    "v2": lambda story: story.make_version(2),
    "rollout": Story.roll_out_safely,
    "drift": Story.watch_it_drift,
    "v3": lambda story: story.make_version(3, harmful=True),
    "harm": Story.stop_the_harm,
    "ab": Story.compare_versions,
}
