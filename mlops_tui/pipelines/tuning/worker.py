"""The tuning worker: measures every candidate in rounds, picks, confirms, hands in the profile.

What was measured is noted in the job's folder as it comes, so that a worker that is begun again goes on where the last
one stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_tui.core.errors import BadInput, MlopsError, NotFound
from mlops_tui.data import training_set
from mlops_tui.data.online.duck import open_locked, quote
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.schema import probe
from mlops_tui.data.scratch import scratch
from mlops_tui.data.worker import unsealed
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.pipelines.gates.worker import pick
from mlops_tui.pipelines.tuning import grid, verdict
from mlops_tui.pipelines.tuning.measure import Figures, measure
from mlops_tui.pipelines.tuning.reference import MOST_ROWS, Loss, Reference, answers, bodies, loss
from mlops_tui.pipelines.tuning.variants import variants
from mlops_tui.pipelines.tuning.verdict import Chosen, Confirmed, Trial, Wishes
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.models.profile import Setting

DEFINITIONS = "mlops.feature_set"
NOTES = "measured.jsonl"


def work(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Tune one version of a model."""
    with scratch() as folder:
        path = folder / "fp32.onnx"
        path.write_bytes(job.blobs.read_bytes(request["digest"]))
        model = Model(path.read_bytes())
        reference = _reference(request, job, model)
        single = [] if reference is None else _single(model, reference)
        made = variants(path, folder, single)
        losses = _losses(made.files, reference)
        bench = _Bench(made.files, bodies(model, reference), float(request["seconds"]), Path(NOTES), job)
        settings = grid.candidates(list(made.files), _cpus())
        trials = [
            Trial(setting, runs, _value(losses, setting), made.files[setting.precision].stat().st_size)
            for setting, runs in bench.rounds(settings, int(request["rounds"])).items()
        ]
        wishes = Wishes(request["profile"], request["limits"], request["max_accuracy_loss"])
        chosen = verdict.choose(trials, wishes, lambda old, new: bench.fresh(old, new, wishes.profile))
        variant = "" if chosen.setting.precision == grid.FP32 else _kept(job, made.files[chosen.setting.precision])
    report = _report(trials, chosen, wishes, losses, made.left_out)
    body = {
        "model": request["version"], "digest": request["digest"], "host": request["host"], "profile": wishes.profile,
        "setting": msgspec.to_builtins(chosen.setting), "variant": variant, "text": chosen.text, "report": report,
        "keeps": chosen.keeps,
    }  # fmt: skip
    job.client.call("model.tuned", body, request_id=job.request_id("tuned"))
    return {"text": chosen.text, "profile": wishes.profile, **report}


def _kept(job: WorkerJob, path: Path) -> str:
    return str(job.blobs.put_file(path).digest)


def _value(losses: dict[str, Loss], setting: Setting) -> float | None:
    return losses[setting.precision].value if setting.precision in losses else None


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# The reference set.


def _reference(request: dict[str, Any], job: WorkerJob, model: Model) -> Reference | None:
    """Return the data that was named, else the rows on which the version's run was evaluated, else None."""
    if request["file"]:
        with unsealed(job, request["file"]["digest"], request["file"]["format"]) as path:
            return _thinned(_named(path, model, request["definitions"], request["label_column"]))
    if not request["run"]:
        return None
    run = job.client.call("run.show", {"run": request["run"]})
    artifacts = {artifact.path: artifact.digest for artifact in run.artifacts}
    try:
        digest = artifacts[pick(artifacts, "evaluation.parquet", ".parquet") or ""]
    except (KeyError, BadInput):
        return None
    with unsealed(job, digest, "parquet") as path:
        try:
            rows, _ = training_set.read_evaluation(path)
        except BadInput:
            return None
    return _thinned(_from(rows))


def _from(rows: training_set.TrainingSet) -> Reference:
    return Reference({name: rows.x[:, at] for at, name in enumerate(rows.names)}, rows.label)


def _named(path: Path, model: Model, definitions: str, label: str) -> Reference:
    """Return rows of a data set: its columns where they are what the model takes, else its features."""
    wanted = model.features if len(model.inputs) == 1 and len(model.features) > 1 else [t.name for t in model.inputs]
    with closing(open_locked([path])) as con:
        table = probe(con, path)
        there = {column.name for column in table.columns}
        if set(wanted) <= there:
            names = [*wanted, *([label] if label else [])]
            if label and label not in there:
                raise BadInput(f"the data has no column {label}", f"it has {', '.join(sorted(there)[:12])}")
            found = con.execute(f"SELECT {', '.join(map(quote, names))} FROM {table.relation}").fetchnumpy()
            columns = {name: _filled(found[name]) for name in wanted}
            truth = np.ma.filled(found[label].astype(np.float64), np.nan) if label else np.empty(0)
            return Reference(columns, truth)
    if not definitions:
        missing = sorted(set(wanted) - there)
        raise NotFound(
            f"the data has no column {missing[0]}",
            f"the model takes {', '.join(wanted[:8])}",
            "name a data set with them",
        )
    record = json.loads(definitions)
    record["label"] = label or record["label"]
    out = path.with_name("reference.parquet")
    training_set.write(FeatureSet.from_record(record), [training_set.Source(path, None)], out)
    return _from(training_set.read(out))


def _filled(values: Any) -> Any:
    """Return a column whose nulls are NaN, where it can hold any."""
    return np.ma.filled(values, np.nan) if values.dtype.kind == "f" else np.asarray(values)


def _thinned(reference: Reference) -> Reference:
    """Return at most so many rows, spread over all of them."""
    if reference.rows <= MOST_ROWS:
        return reference
    rows = np.linspace(0, reference.rows - 1, MOST_ROWS).astype(np.int64)
    label = reference.label[rows] if len(reference.label) else reference.label
    return Reference({name: values[rows] for name, values in reference.columns.items()}, label)


def _single(model: Model, reference: Reference) -> list[Any]:
    """Return one feed a row, spread over the reference set, for calibration."""
    from mlops_tui.pipelines.tuning.variants import CALIBRATED_ON

    rows = np.linspace(0, reference.rows - 1, min(CALIBRATED_ON, reference.rows)).astype(np.int64).tolist()
    return [reference.feed(model, row, row + 1) for row in rows]


def _losses(files: dict[str, Path], reference: Reference | None) -> dict[str, Loss]:
    if reference is None:
        return {}
    plain = answers(files[grid.FP32], reference)
    return {
        precision: loss(plain, plain if precision == grid.FP32 else answers(path, reference), reference.label)
        for precision, path in files.items()
    }


# Measurements.


class _Bench:
    """Measures in rounds and in pairs, and remembers.

    Args:
        files: the model by precision.
        bodies: requests.
        seconds: for each phase of a measurement.
        notes: where measurements are noted.
        job: whom progress is told.
    """

    def __init__(self, files: dict[str, Path], bodies: list[str], seconds: float, notes: Path, job: WorkerJob) -> None:
        self._files, self._bodies, self._seconds, self._notes, self._job = files, bodies, seconds, notes, job
        self._known = dict(_noted(notes))
        self._done, self._all = 0, 1

    def rounds(self, settings: list[Setting], rounds: int) -> dict[Setting, list[Figures]]:
        """Measure every candidate once a round, each round in another order."""
        self._all = len(settings) * rounds + 4 * verdict.PAIRS
        found: dict[Setting, list[Figures]] = {setting: [] for setting in settings}
        for number in range(rounds):
            order = list(settings)
            random.Random(number).shuffle(order)
            for setting in order:
                found[setting].append(self._once(setting, f"round {number}"))
        return found

    def fresh(self, old: Setting, new: Setting, profile: str) -> Confirmed:
        """Measure two candidates anew, in pairs whose order alternates."""
        cost = verdict.COSTS[profile]
        pairs = []
        for number in range(verdict.PAIRS):
            order = (old, new) if number % 2 else (new, old)
            costs = {one: cost(self._once(one, f"pair {number} of {new.name} against {old.name}")) for one in order}
            pairs.append((costs[old], costs[new]))
        return verdict.confirm(pairs)

    def _once(self, setting: Setting, occasion: str) -> Figures:
        key = f"{setting.name}, {occasion}"
        if key not in self._known:
            figures = measure(setting, self._files, self._bodies, self._seconds)
            with self._notes.open("ab") as file:
                file.write(msgspec.json.encode({"key": key, "figures": figures}) + b"\n")
            self._known[key] = figures
            print(
                f"{key}: {figures.p50_ms * 1000:.0f} µs, {figures.rate:,.0f}/s, {figures.memory / 1e6:.0f} MB",
                flush=True,
            )
        self._done += 1
        with contextlib.suppress(MlopsError):  # an agent that is away hears of the next
            self._job.progress(min(0.99, self._done / self._all))
        return self._known[key]


def _noted(notes: Path) -> Iterator[tuple[str, Figures]]:
    """Yield what an earlier worker of this job has measured; a last line that was cut short does not count."""
    if not notes.exists():
        return
    for line in notes.read_bytes().split(b"\n"):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        yield found["key"], msgspec.convert(found["figures"], Figures)


# The report.


def _report(
    trials: list[Trial], chosen: Chosen, wishes: Wishes, losses: dict[str, Loss], left_out: dict[str, str]
) -> dict[str, Any]:
    front = verdict.pareto(trials)
    best = {trial.setting: trial for trial in trials}
    rows = [_row(trial, chosen, wishes, best, trial.setting in front) for trial in trials]
    steps = [
        {
            "stays": old.name,
            "challenger": new.name,
            "gain": found.gain,
            "t": found.t,
            "pairs": found.pairs,
            "wins": found.wins,
        }
        for old, new, found in chosen.steps
    ]
    return {
        "chosen": chosen.setting.name,
        "candidates": rows,
        "confirmations": steps,
        "accuracy": {precision: one.words for precision, one in losses.items()},
        "left_out": left_out,
        "test": verdict.TEST,
    }


def _row(trial: Trial, chosen: Chosen, wishes: Wishes, best: dict[Setting, Trial], in_front: bool) -> dict[str, Any]:
    costs = verdict.COSTS
    twin = best[msgspec.structs.replace(trial.setting, precision=grid.FP32)]
    return {
        "candidate": trial.setting.name,
        "p50_ms": trial.value(costs["latency"]),
        "p50_spread": trial.spread(costs["latency"]),
        "p99_ms": trial.value(lambda run: run.p99_ms),
        "rate": 1 / trial.value(costs["throughput"]),
        "rate_spread": trial.spread(lambda run: run.rate),
        "cpu_us": trial.value(lambda run: run.cpu_us),
        "mem_used": int(trial.value(costs["memory"])),
        "loss": trial.loss,
        "size": trial.size,
        "against_fp32": twin.value(costs[wishes.profile]) / trial.value(costs[wishes.profile]),
        "pareto": in_front,
        "note": "chosen" if trial.setting == chosen.setting else wishes.missed(trial, best[next(iter(best))]),
    }


if __name__ == "__main__":
    serve(work)
