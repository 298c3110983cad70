"""What toggles cost: an evaluation beside the official provider's, and a request with each kind of toggle.

``toggles.py [--seconds 2]``. Requests go through the application of a server, in process: from the bytes of a body to
the bytes of an answer, one row of 20 floats, log and counters on. The kinds take turns in short windows; medians of
CPU time a request are printed, and what a toggle adds to a request without any.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import timeit
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "serving"))

WINDOW = 400
ON_OFF = {"on": True, "off": False}
HEADER = {"if": [{"==": [{"var": "headers.x-plan"}, "pro"]}, "new"]}
FRACTION = {"fractional": [["new", 10], ["old", 90]]}
PARAMETER = {"if": [{"==": [{"var": "parameters.tier"}, 3]}, "new"]}
FEATURE = {"if": [{">": [{"var": "features.f3"}, 4]}, "new"]}
PICKS = {"new": "v1", "old": "v2"}


def flag(controls: str, variants: Any, default: str | None = None, rule: Any = None) -> dict[str, Any]:
    made = {"state": "ENABLED", "variants": variants, "metadata": {"deployment": "m", "controls": controls}}
    return {**made, **({"defaultVariant": default} if default else {}), **({"targeting": rule} if rule else {})}


KINDS: dict[str, dict[str, Any]] = {
    "no toggle": {},
    "a kill switch that is on (idle)": {"k": flag("answers", ON_OFF, "on")},
    "a revision for everybody (constant)": {"p": flag("revision", PICKS, "new")},
    "a revision by a header": {"p": flag("revision", PICKS, "old", HEADER)},
    "a revision by fractional": {"p": flag("revision", PICKS, "old", FRACTION)},
    "a revision by a parameter of the body": {"p": flag("revision", PICKS, "old", PARAMETER)},
    "a revision by a feature": {"p": flag("revision", PICKS, "old", FEATURE)},
}


def evaluations() -> None:
    """Print microseconds of an evaluation, ours and the official provider's."""
    from openfeature.contrib.tools.flagd.core.flagd_core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

    from mlops_tui.toggles import defined

    both = {"if": [{"ends_with": [{"var": "headers.x-user"}, "@example.com"]}, "new", FRACTION]}
    flags = {"static": None, "a header": HEADER, "fractional": FRACTION, "ends_with, then fractional": both}
    context = {"headers": {"x-user": "user-4711@example.org", "x-plan": "free"}}
    print(f"{'evaluation, µs':34}{'ours':>8}{'official':>10}")
    for name, rule in flags.items():
        file = {"flags": {"f": flag("revision", PICKS, "old", rule)}}
        official, toggle = FlagdCore(), defined(file).toggles["f"]
        official.set_flags(json.dumps(file))
        theirs, ours = EvaluationContext("user-4711", context), {**context, "targetingKey": "user-4711"}
        spent = [
            min(timeit.repeat(ask, number=2000, repeat=7)) / 2000 * 1e6
            for ask in (partial(toggle.resolve, ours), partial(official.resolve_string_value, "f", "", theirs))
        ]
        print(f"{name:34}{spent[0]:8.2f}{spent[1]:10.2f}")


def requests(seconds: float) -> None:
    """Print microseconds of CPU a request, with each kind of toggle."""
    from conftest import linear  # the models of the integration tests

    from mlops_tui.serving.deployment import Deployment, Revision
    from mlops_tui.serving.deployment import Model as Place
    from mlops_tui.serving.models.model import Model
    from mlops_tui.serving.protocol.app import App
    from mlops_tui.serving.record.counters import Counters
    from mlops_tui.serving.record.inference_log import InferenceLog
    from mlops_tui.serving.traffic.routing import Arm, Router
    from mlops_tui.serving.traffic.toggling import switches
    from mlops_tui.toggles import defined

    rows = np.random.default_rng(0).normal(size=20).round(4).tolist()
    tensor = {"name": "X", "shape": [1, 20], "datatype": "FP32", "data": rows}
    body = json.dumps({"id": "user-4711", "parameters": {"tier": 1}, "inputs": [tensor]}).encode()
    with tempfile.TemporaryDirectory() as folder:
        counters = Counters(Path(folder) / "counters", 1)
        log = InferenceLog(Path(folder), "d", 1 << 30, counters.slot(0))
        app = App(Deployment(deployment="d", name="m", spool=folder), counters, counters.slot(0), log)
        model = Model(linear(0.0, 20, [f"f{i}" for i in range(20)]))
        stream = log.stream(model.features, model.outputs)
        arms = [Arm("m", Revision(f"r{n}", n, f"v{n}", Place("f"), 50.0), model, n, stream) for n in (1, 2)]
        router = Router((1, 1), arms, "id", None)
        app.route(router, [])
        entry = app.admit("POST", "/v2/models/m/infer", {b"host": b"localhost", b"x-plan": b"free"})
        made = {kind: switches("m", defined({"flags": flags}), router) for kind, flags in KINDS.items()}
        spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
        began = process_time()
        while process_time() - began < seconds:
            for kind, found in made.items():
                app.predictor.switches = found
                begin = process_time()
                for _ in range(WINDOW):
                    app.ask(entry, body)
                    app.settle()
                spent[kind].append((process_time() - begin) / WINDOW * 1e6)
        log.close()
    plain = statistics.median(spent["no toggle"])
    print(f"\n{'request, µs of CPU':44}{'median':>8}{'added':>8}")
    for kind, values in spent.items():
        print(f"{kind:44}{statistics.median(values):8.2f}{statistics.median(values) - plain:+8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    wishes = parser.parse_args()
    evaluations()
    requests(wishes.seconds)
