"""Our wire and a real MLflow server are asked the same: what they answer is the same, but for ids, times and words.

``python tests/contract/test_mlflow_answers.py [PART OF A NAME …]`` prints every difference.
"""

from __future__ import annotations

import itertools
import json
import sys

_SEARCHED = 'runs_are_searched: POST /api/2.0/mlflow/runs/search {"experiment_ids": ["<id 1>", "<id 2>"], "filter": "'
_MORE = ("run_name IN", "params.lr IN", "tags.team IN", "params.lr = 0.1", "metrics.loss > 0 OR", "metrics.loss = NaN")
_FILES = "/api/2.0/mlflow-artifacts/artifacts/<id 1>/<id 2>/artifacts"
DIFFERS: dict[str, str] = {
    "an_experiment_lives_and_is_deleted_and_comes_back: POST /api/2.0/mlflow/experiments/update": "400 for a state "
    "that does not change by itself: MLflow's 500 makes its own client try again for minutes",
    "a_page_of_no_size: POST": "1000, as for runs; MLflow's own client sends none when its caller says none",
    "a_run_from_its_creation_to_its_end: POST /api/2.0/mlflow/runs/update": "a run that runs again has no end, and a "
    "state that does not exist is refused, not passed over",
    "a_run_from_its_creation_to_its_end: GET /api/2.0/mlflow/runs/get": "so shown",
    'runs_that_are_not_there: POST /api/2.0/mlflow/runs/create {"start_time": 1}': "no experiment is the default one",
    'wrong_values: POST /api/2.0/mlflow/runs/log-metric {"run_id": "<id 2>", "key": "m", "value": 1, "timestamp": 1, '
    '"step": 1.5}': "half a step is refused, not stored as 0",
    "not_a_number_and_the_infinities": "infinities are kept; MLflow clips them to the largest float",
    **{_SEARCHED + wish: "one grammar for people and clients: more can be asked than of MLflow" for wish in _MORE},
    **{
        f"artifacts_through_the_proxy: {method} {_FILES}/%2Fetc": "an empty part of a path is refused, not failed over"
        for method in ("PUT", "GET")
    },
    "aliases: GET /api/2.0/mlflow/registered-models/get": "the versions that it shows say their aliases, too",
    'aliases: POST /api/2.0/mlflow/registered-models/alias {"name": "aliases", "alias": "1"': "NAME@1 is version 1",
    "what_is_not_offered": "every answer is JSON in MLflow's shape",
    "inputs_and_outputs_of_a_run: POST /api/2.0/mlflow/experiments/search-datasets": "served where MLflow meant to",
}
"""Where we answer otherwise on purpose: what was asked (its beginning, with the scenario), and why."""


def differences(Wire, scenarios, theirs: str, ours: str, token: str = "", wanted=()) -> list[str]:
    """Run the scenarios against both and return what differs, one text a call."""
    found = []
    wires = Wire(theirs), Wire(ours, token)
    for name, tell in scenarios.items():
        if wanted and not any(part in name for part in wanted):
            continue
        for wire in wires:
            wire.begin()
            try:
                tell(wire, name.replace("_", "-"))
            except KeyError as missing:  # the answer that the next call needs is not there
                wire.trace.append((f"the scenario ends: no {missing}", 0, None))
        for number, (them, us) in enumerate(itertools.zip_longest(wires[0].trace, wires[1].trace)):
            asked = (them or us)[0]
            if them != us and not any(f"{name}: {asked}".startswith(known) for known in DIFFERS):
                found.append(f"{name} [{number}]: {asked}\n    MLflow: {_told(them)}\n    ours:   {_told(us)}")
    return found


def _told(call) -> str:
    return "-" if call is None else f"{call[1]} {json.dumps(call[2])}"


def test_every_answer_is_the_one_that_mlflow_gives(agent, mlflow_server, scenarios, Wire):
    listener = agent.client().call("agent.url")
    found = differences(Wire, scenarios, mlflow_server, listener.url, listener.token)
    assert not found, f"{len(found)} differ:\n" + "\n".join(found)


def _by_hand() -> None:
    import os
    import tempfile
    from pathlib import Path

    import conftest

    with tempfile.TemporaryDirectory(prefix="mlops-contract-") as folder:
        os.environ.update(MLOPS_HOME=f"{folder}/home", XDG_RUNTIME_DIR=folder, MLOPS_QUIET="1")
        from mlops_tui.client import Client

        process, url = conftest.start_mlflow(Path(folder))
        try:
            with Client() as client:
                listener = client.call("agent.url")
                args = conftest.load("mlflow_wire").Wire, conftest.all_scenarios()
                found = differences(*args, url, listener.url, listener.token, sys.argv[1:])
                client.call("agent.stop")
        finally:
            conftest.end(process)
    print("\n".join(found))
    print(f"{len(found)} answers differ")


if __name__ == "__main__":
    _by_hand()
