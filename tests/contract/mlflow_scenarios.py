"""What clients do to a tracking server and a registry, told as plain calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count

SCENARIOS: dict[str, Callable] = {}
_numbers = count(1)


def scenario(tell: Callable) -> Callable:
    """Register a scenario; ``tell(wire, name)`` gets a prefix that nothing else in the store has."""
    SCENARIOS[tell.__name__] = tell
    return tell


def _experiment(wire, name, **more) -> str:
    return wire.post("experiments/create", name=name, **more)["experiment_id"]


def _run(wire, experiment, start=1_700_000_000_000, **more) -> str:
    return wire.post("runs/create", experiment_id=experiment, start_time=start, **more)["run"]["info"]["run_id"]


# Experiments.


@scenario
def an_experiment_lives_and_is_deleted_and_comes_back(wire, name):
    made = _experiment(wire, name, tags=[{"key": "team", "value": "a"}])
    wire.get("experiments/get", experiment_id=made)
    wire.get("experiments/get-by-name", experiment_name=name)
    wire.post("experiments/create", name=name)
    wire.post("experiments/update", experiment_id=made, new_name=name + "-new")
    wire.get("experiments/get-by-name", experiment_name=name)
    wire.post("experiments/set-experiment-tag", experiment_id=made, key="team", value="b")
    wire.post("experiments/set-experiment-tag", experiment_id=made, key="other", value="")
    wire.get("experiments/get", experiment_id=made)
    wire.post("experiments/delete-experiment-tag", experiment_id=made, key="other")
    wire.post("experiments/delete-experiment-tag", experiment_id=made, key="other")
    wire.post("experiments/delete", experiment_id=made)
    wire.get("experiments/get", experiment_id=made)
    wire.get("experiments/get-by-name", experiment_name=name + "-new")
    wire.post("experiments/create", name=name + "-new")
    wire.post("experiments/delete", experiment_id=made)
    wire.post("experiments/update", experiment_id=made, new_name=name + "-third")
    wire.post("experiments/set-experiment-tag", experiment_id=made, key="team", value="c")
    wire.post("runs/create", experiment_id=made, start_time=1)
    wire.post("experiments/restore", experiment_id=made)
    wire.post("experiments/restore", experiment_id=made)
    wire.get("experiments/get", experiment_id=made)


@scenario
def an_experiment_comes_back_with_all_its_runs(wire, name):
    experiment = _experiment(wire, name)
    runs = [_run(wire, experiment, start=i) for i in range(3)]
    wire.post("runs/delete", run_id=runs[0])
    wire.post("experiments/delete", experiment_id=experiment)
    wire.post("experiments/restore", experiment_id=experiment)
    for view in ("ACTIVE_ONLY", "DELETED_ONLY"):
        wire.post("runs/search", experiment_ids=[experiment], run_view_type=view)


@scenario
def what_is_no_experiment(wire, name):
    for body in ({}, {"name": ""}, {"name": name, "tags": "x"}, {"name": 7}, {"name": None}):
        wire.post("experiments/create", **body)
    for wrong in ("999999", "", "abc", "-1"):
        wire.get("experiments/get", experiment_id=wrong)
        wire.post("experiments/delete", experiment_id=wrong)
    wire.get("experiments/get")
    wire.get("experiments/get-by-name", experiment_name=name + "-missing")
    wire.get("experiments/get-by-name")
    wire.post("experiments/restore", experiment_id="999999")
    wire.post("experiments/update", experiment_id="999999", new_name="x")
    wire.post("experiments/delete", experiment_id="0")
    wire.post("experiments/restore", experiment_id="0")
    wire.post("experiments/create", name="x" * 501)


@scenario
def experiments_are_searched(wire, name):
    for i, team in enumerate(["a", "b", "a", ""]):
        tags = [{"key": "team", "value": team}] if team else []
        _experiment(wire, f"{name}-{i}", tags=tags)
    gone = _experiment(wire, f"{name}-gone")
    wire.post("experiments/delete", experiment_id=gone)
    mine = f"name LIKE '{name}%'"
    for wish in (
        mine,
        f"name = '{name}-1'",
        f"{mine} AND tags.team = 'a'",
        f"{mine} AND tags.`team` != 'a'",
        f"name ILIKE '{name.upper()}%'",
        f"attribute.name = '{name}-2'",
        f"{mine} AND tags.team LIKE '%'",
        "name = 3",
        "nonsense",
        "name == 'x'",
        "metrics.x > 1",
        f"{mine} AND creation_time > 0",
    ):
        wire.post("experiments/search", filter=wish, max_results=100, order_by=["name ASC"])
    for view in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"):
        wire.post("experiments/search", filter=mine, max_results=100, view_type=view, order_by=["name DESC"])
    page = wire.post("experiments/search", filter=mine, max_results=2, order_by=["name"])
    wire.post("experiments/search", filter=mine, max_results=2, order_by=["name"], page_token=page["next_page_token"])
    for wrong in (
        {"max_results": 0},
        {"max_results": 50_001},
        {"max_results": -1},
        {"page_token": "%%%"},
        {"order_by": ["x"]},
    ):
        wire.post("experiments/search", **{"filter": mine, "max_results": 5, **wrong})


@scenario
def a_page_of_no_size(wire, name):
    _experiment(wire, name)
    wire.post("experiments/search", filter=f"name = '{name}'")


@scenario
def experiments_keep_their_order_whatever_changes(wire, name):
    made = [_experiment(wire, f"{name}-{i}") for i in range(4)]
    wire.post("experiments/set-experiment-tag", experiment_id=made[0], key="a", value="b")
    wire.post("experiments/delete", experiment_id=made[1])
    for order in ([], ["name"], ["name DESC"], ["experiment_id ASC"], ["creation_time ASC"]):
        wire.post("experiments/search", filter=f"name LIKE '{name}%'", max_results=9, view_type="ALL", order_by=order)
    for place in ("s3://bucket/x#part", "https://host/x;p=1", "s3://bucket/x", "/tmp/mlruns-of-nobody"):
        wire.post("experiments/create", name=f"{name}-{len(place)}", artifact_location=place)
    for place in ("s3://bucket/slash/", "s3://bucket/with?key=a/b"):
        _run(wire, _experiment(wire, f"{name}-of-{len(place)}", artifact_location=place))


# Runs.


@scenario
def a_run_from_its_creation_to_its_end(wire, name):
    experiment = _experiment(wire, name)
    made = wire.post(
        "runs/create",
        experiment_id=experiment,
        start_time=1_700_000_000_123,
        run_name="first",
        tags=[{"key": "a", "value": "1"}],
    )["run"]["info"]["run_id"]
    wire.get("runs/get", run_id=made)
    wire.get("runs/get", run_uuid=made)
    wire.post("runs/log-metric", run_id=made, key="loss", value=0.5, timestamp=1_700_000_000_200, step=1)
    wire.post("runs/log-metric", run_id=made, key="loss", value=0.25, timestamp=1_700_000_000_300, step=2)
    wire.post("runs/log-metric", run_id=made, key="loss", value=0.75, timestamp=1_700_000_000_100, step=2)
    wire.post("runs/log-metric", run_id=made, key="no step", value=1, timestamp=5)
    wire.post("runs/log-parameter", run_id=made, key="lr", value="0.1")
    wire.post("runs/log-parameter", run_id=made, key="lr", value="0.1")
    wire.post("runs/log-parameter", run_id=made, key="lr", value="0.2")
    wire.post("runs/log-parameter", run_id=made, key="empty", value="")
    wire.post("runs/set-tag", run_id=made, key="a", value="2")
    wire.post("runs/set-tag", run_id=made, key="b", value="3")
    wire.get("runs/get", run_id=made)
    wire.post("runs/delete-tag", run_id=made, key="b")
    wire.post("runs/delete-tag", run_id=made, key="b")
    wire.post("runs/update", run_id=made, status="FINISHED", end_time=1_700_000_009_000)
    wire.get("runs/get", run_id=made)
    wire.post("runs/log-metric", run_id=made, key="late", value=1.0, timestamp=1_700_000_010_000, step=3)
    wire.post("runs/update", run_id=made, run_name="renamed")
    wire.get("runs/get", run_id=made)
    for status in ("FAILED", "KILLED", "RUNNING", "SCHEDULED"):
        wire.post("runs/update", run_id=made, status=status)
        wire.get("runs/get", run_id=made)
    wire.post("runs/update", run_id=made, status="NONSENSE")


@scenario
def a_run_is_renamed_by_its_tag(wire, name):
    run = _run(wire, _experiment(wire, name), run_name="first")
    for text in ("second", "third"):
        wire.post("runs/set-tag", run_id=run, key="mlflow.runName", value=text)
        wire.get("runs/get", run_id=run)
    wire.post("runs/log-batch", run_id=run, tags=[{"key": "mlflow.note.content", "value": "seen"}])
    wire.post("runs/update", run_id=run, run_name="fourth")
    wire.get("runs/get", run_id=run)
    for again in (
        lambda: wire.post("runs/update", run_id=run, run_name="fifth"),
        lambda: wire.post("runs/set-tag", run_id=run, key="mlflow.runName", value="sixth"),
    ):
        wire.post("runs/delete-tag", run_id=run, key="mlflow.runName")
        wire.get("runs/get", run_id=run)
        wire.post("runs/delete-tag", run_id=run, key="mlflow.runName")
        again()
        wire.get("runs/get", run_id=run)


@scenario
def a_deleted_run_takes_nothing(wire, name):
    made = _run(wire, _experiment(wire, name))
    wire.post("runs/delete", run_id=made)
    wire.get("runs/get", run_id=made)
    wire.post("runs/log-metric", run_id=made, key="m", value=1, timestamp=1)
    wire.post("runs/log-parameter", run_id=made, key="p", value="1")
    wire.post("runs/set-tag", run_id=made, key="t", value="1")
    wire.post("runs/delete-tag", run_id=made, key="t")
    wire.post("runs/update", run_id=made, status="FINISHED", end_time=2)
    wire.post("runs/log-batch", run_id=made, metrics=[{"key": "m", "value": 1, "timestamp": 1, "step": 0}])
    wire.post("runs/delete", run_id=made)
    wire.post("runs/restore", run_id=made)
    wire.post("runs/log-metric", run_id=made, key="m", value=1, timestamp=1)
    wire.get("runs/get", run_id=made)
    wire.post("runs/restore", run_id=made)


@scenario
def runs_that_are_not_there(wire, name):
    missing = "0" * 32
    wire.get("runs/get", run_id=missing)
    wire.get("runs/get")
    for wrong in (missing, "", "x/y"):
        wire.post("runs/log-metric", run_id=wrong, key="m", value=1, timestamp=1)
        wire.post("runs/log-parameter", run_id=wrong, key="m", value="1")
        wire.post("runs/set-tag", run_id=wrong, key="m", value="1")
        wire.post("runs/update", run_id=wrong, status="FINISHED")
        wire.post("runs/delete", run_id=wrong)
        wire.get("metrics/get-history", run_id=wrong, metric_key="m")
        wire.get("artifacts/list", run_id=wrong)
    wire.post("runs/create", experiment_id="999999", start_time=1)
    wire.post("runs/create", start_time=1)
    wire.post("runs/create", experiment_id="0", start_time="abc")


@scenario
def wrong_values(wire, name):
    made = _run(wire, _experiment(wire, name))
    for body in (
        {"key": "m"}, {"value": 1, "timestamp": 1}, {"key": "m", "value": "x", "timestamp": 1},
        {"key": "m", "value": 1, "timestamp": "x"}, {"key": "m", "value": 1, "timestamp": 1, "step": "x"},
        {"key": "m", "value": None, "timestamp": 1}, {"key": "", "value": 1, "timestamp": 1},
        {"key": "m" * 251, "value": 1, "timestamp": 1}, {"key": "../m", "value": 1, "timestamp": 1},
        {"key": "/m", "value": 1, "timestamp": 1}, {"key": "a//b", "value": 1, "timestamp": 1},
        {"key": "m:1 -_./x", "value": 1, "timestamp": 1}, {"key": "m#", "value": 1, "timestamp": 1},
        {"key": "m", "value": 1, "timestamp": 1, "step": 1.5}, {"key": "m", "value": 1, "timestamp": "17", "step": "3"},
        {"key": "neg", "value": 1, "timestamp": 1, "step": -1},
    ):  # fmt: skip
        wire.post("runs/log-metric", run_id=made, **body)
    for body in (
        {"key": "p"}, {"value": "1"}, {"key": "", "value": "1"}, {"key": "p" * 251, "value": "1"},
        {"key": "p", "value": "x" * 6000}, {"key": "q", "value": "x" * 6001}, {"key": "../p", "value": "1"},
        {"key": "number", "value": 1},
    ):  # fmt: skip
        wire.post("runs/log-parameter", run_id=made, **body)
    for body in (
        {"key": "t"}, {"value": "1"}, {"key": "", "value": "1"}, {"key": "t" * 251, "value": "1"},
        {"key": "t", "value": "x" * 8000}, {"key": "u", "value": "x" * 8001}, {"key": "../t", "value": "1"},
    ):  # fmt: skip
        wire.post("runs/set-tag", run_id=made, **body)
    wire.get("runs/get", run_id=made)


@scenario
def not_a_number_and_the_infinities(wire, name):
    made = _run(wire, _experiment(wire, name))
    for i, value in enumerate(["NaN", "Infinity", "-Infinity", 1e308, -0.0, 5e-324, 3]):
        wire.post("runs/log-metric", run_id=made, key="v", value=value, timestamp=10 + i, step=i)
        wire.get("metrics/get-history", run_id=made, metric_key="v")
        wire.get("runs/get", run_id=made)


@scenario
def a_batch(wire, name):
    made = _run(wire, _experiment(wire, name))
    metrics = [{"key": f"m{i % 3}", "value": i, "timestamp": 100 + i, "step": i} for i in range(30)]
    whole = {
        "metrics": metrics,
        "params": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}],
        "tags": [{"key": "t", "value": "x"}],
    }
    wire.post("runs/log-batch", run_id=made, **whole)
    wire.post("runs/log-batch", run_id=made, **whole)
    wire.get("runs/get", run_id=made)
    wire.get("metrics/get-history", run_id=made, metric_key="m1")
    wire.post("runs/log-batch", run_id=made)
    wire.post("runs/log-batch", run_id=made, params=[{"key": "a", "value": "other"}])
    wire.post("runs/log-batch", run_id=made, params=[{"key": "c", "value": "1"}, {"key": "c", "value": "2"}])
    wire.post("runs/log-batch", run_id=made, params=[{"key": "d", "value": "1"}, {"key": "d", "value": "1"}])
    wire.post("runs/log-batch", run_id=made, tags=[{"key": "t", "value": "y"}, {"key": "t", "value": "z"}])
    wire.post("runs/log-batch", run_id=made, metrics=[{"key": "x" * 251, "value": 1, "timestamp": 1, "step": 0}])
    wire.post("runs/log-batch", run_id=made, metrics=[{"value": 1, "timestamp": 1, "step": 0}])
    wire.post("runs/log-batch", run_id=made, metrics=[{"key": "m", "timestamp": 1, "step": 0}])
    wire.post("runs/log-batch", run_id=made, metrics=[{"key": "k", "value": 1, "timestamp": 1}])
    wire.post("runs/log-batch", run_id=made, params=[{"key": "long", "value": "x" * 6001}])
    wire.post("runs/log-batch", run_id=made, metrics="no list")
    wire.post("runs/log-batch", metrics=[])
    one = {"key": "many", "value": 1, "timestamp": 1, "step": 0}
    wire.post("runs/log-batch", run_id=made, metrics=[{**one, "step": i} for i in range(1000)])
    wire.post("runs/log-batch", run_id=made, metrics=[one] * 1001)
    wire.post("runs/log-batch", run_id=made, params=[{"key": f"p{i}", "value": "1"} for i in range(101)])
    wire.post("runs/log-batch", run_id=made, tags=[{"key": f"t{i}", "value": "1"} for i in range(101)])
    wire.get("runs/get", run_id=made)


@scenario
def history_in_pages(wire, name):
    made = _run(wire, _experiment(wire, name))
    points = [{"key": "m", "value": i / 7, "timestamp": 1000 - i, "step": i // 2} for i in range(25)]
    wire.post("runs/log-batch", run_id=made, metrics=points)
    wire.get("metrics/get-history", run_id=made, metric_key="m")
    page = wire.get("metrics/get-history", run_id=made, metric_key="m", max_results=10)
    page = wire.get(
        "metrics/get-history", run_id=made, metric_key="m", max_results=10, page_token=page["next_page_token"]
    )
    wire.get("metrics/get-history", run_id=made, metric_key="m", max_results=10, page_token=page["next_page_token"])
    wire.get("metrics/get-history", run_id=made, metric_key="other")
    wire.get("metrics/get-history", run_id=made)
    wire.get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id=[made], metric_key="m", max_results=5)


@scenario
def runs_are_searched(wire, name):
    experiment = _experiment(wire, name)
    other = _experiment(wire, name + "-other")
    made = []
    for i in range(6):
        run = _run(wire, experiment if i < 5 else other, start=1_700_000_000_000 + i, run_name=f"run-{i}")
        made.append(run)
        if i != 3:
            value = "NaN" if i == 2 else i / 2
            wire.post("runs/log-metric", run_id=run, key="loss", value=value, timestamp=1, step=0)
        wire.post("runs/log-metric", run_id=run, key="val loss", value=i, timestamp=1, step=0)
        wire.post("runs/log-parameter", run_id=run, key="lr", value=["0.1", "0.01"][i % 2])
        wire.post("runs/set-tag", run_id=run, key="team", value="ABC"[i % 3])
    wire.post("runs/update", run_id=made[0], status="FINISHED", end_time=1_700_000_001_000)
    wire.post("runs/update", run_id=made[1], status="FAILED", end_time=1_700_000_002_000)
    wire.post("runs/delete", run_id=made[4])
    both = [experiment, other]
    for wish in (
        "", "metrics.loss > 0", "metrics.loss >= 0.5 and metrics.loss < 2", "metrics.loss != 0.5", "metrics.loss = 0.5",
        "metrics.`val loss` > 1", 'metrics."val loss" > 1', "params.lr = '0.1'", "params.lr != '0.1'",
        "params.lr LIKE '0.0%'", "params.lr ILIKE '0.0%'", "tags.team = 'A'", "tags.team LIKE 'a'",
        "tags.team ILIKE 'a'",
        "tag.team != 'A'", "attributes.status = 'FINISHED'", "status != 'RUNNING'", "attribute.status = 'finished'",
        "run_name = 'run-1'", "attributes.run_name LIKE 'run%'", "tags.mlflow.runName = 'run-2'",
        "`run name` = 'run-0'",
        f"run_id = '{made[2]}'", f"attributes.run_id IN ('{made[1]}', '{made[2]}')", "run_name IN ('run-0', 'run-1')",
        "start_time > 1700000000002", "attributes.start_time <= 1700000000001", "end_time < 1700000001500",
        "params.lr IN ('0.1')", "tags.team IN ('A', 'B')", "metrics.missing > 0", "params.missing = '1'",
        "metrics.loss > 'x'", "params.lr = 0.1", "params.lr > '1'", "nonsense", "metrics.loss >", "metrics.loss",
        "x.y = '1'",
        "metrics.loss > 0 OR metrics.loss < 0", "status = 'FINISHED' AND", "tags.team = A", "attributes.foo = 'x'",
        "metrics.loss > 0 AND params.lr = '0.01' AND tags.team != 'C'", "params.lr IS NULL", "params.`lr` = '0.1'",
        "metrics.loss = NaN", "user_id = 'nobody'", "lifecycle_stage = 'active'", "artifact_uri LIKE '%x%'",
    ):  # fmt: skip
        wire.post("runs/search", experiment_ids=both, filter=wish, order_by=["attributes.start_time ASC"])
    for order in (
        [], ["metrics.loss"], ["metrics.loss DESC"], ["metrics.loss ASC", "params.lr DESC"], ["params.lr"],
        ["tags.team DESC", "start_time"], ["attributes.end_time"], ["end_time DESC"], ["status"], ["run_name DESC"],
        ["metrics.missing"], ["metrics.`val loss` DESC"], ["nonsense"], ["metrics.loss SIDEWAYS"], ["attributes.foo"],
        ["Created DESC"], ["start_time DESC"],
    ):  # fmt: skip
        wire.post("runs/search", experiment_ids=both, order_by=order)
    for view in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"):
        wire.post("runs/search", experiment_ids=both, run_view_type=view, order_by=["start_time ASC"])
    page = wire.post("runs/search", experiment_ids=both, max_results=2, order_by=["start_time ASC"])
    page = wire.post(
        "runs/search",
        experiment_ids=both,
        max_results=2,
        order_by=["start_time ASC"],
        page_token=page["next_page_token"],
    )
    wire.post(
        "runs/search",
        experiment_ids=both,
        max_results=2,
        order_by=["start_time ASC"],
        page_token=page.get("next_page_token", ""),
    )
    for wrong in ({"max_results": 0}, {"max_results": 50_001}, {"page_token": "%%%"}, {"experiment_ids": []}):
        wire.post("runs/search", **{"experiment_ids": both, **wrong})
    wire.post("runs/search")
    wire.post("runs/search", experiment_ids=["999999"])


@scenario
def inputs_and_outputs_of_a_run(wire, name):
    experiment = _experiment(wire, name)
    made = _run(wire, experiment)
    dataset = {"name": "census", "digest": "abc", "source_type": "local", "source": "{}", "schema": "s", "profile": "p"}
    tags = [{"key": "mlflow.data.context", "value": "train"}]
    wire.post("runs/log-inputs", run_id=made, datasets=[{"tags": tags, "dataset": dataset}])
    wire.post("runs/log-inputs", run_id=made, datasets=[{"tags": tags, "dataset": dataset}])
    wire.get("runs/get", run_id=made)
    wire.post("runs/log-inputs", run_id=made, datasets=[{"dataset": {**dataset, "name": ""}}])
    wire.post("runs/log-inputs", run_id=made, datasets=[{"tags": [], "dataset": {"name": "x"}}])
    wire.post("runs/log-inputs", datasets=[{"tags": tags, "dataset": dataset}])
    wire.post("runs/search", experiment_ids=[experiment], filter="dataset.name = 'census'")
    wire.post("runs/search", experiment_ids=[experiment], filter="datasets.digest LIKE 'x%'")
    wire.post("runs/search", experiment_ids=[experiment], filter="dataset.context = 'train'")
    wire.post("experiments/search-datasets", experiment_ids=[experiment])


@scenario
def artifacts_through_the_proxy(wire, name):
    experiment = _experiment(wire, name)
    made = _run(wire, experiment)
    root = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{made}/artifacts"
    wire.get("artifacts/list", run_id=made)
    for path, body in (
        ("a.txt", b"hello"),
        ("deep/er/b.bin", bytes(range(256)) * 10),
        ("deep/c", b""),
        ("a b.txt", b"x"),
    ):
        wire.raw("PUT", f"{root}/{path.replace(' ', '%20')}", body)
    for path in ("", "deep", "deep/er", "a.txt", "none"):
        wire.get("artifacts/list", run_id=made, path=path)
    wire.get("/api/2.0/mlflow-artifacts/artifacts", path=f"{experiment}/{made}/artifacts")
    for path in ("a.txt", "deep/er/b.bin", "none", "deep"):
        wire.raw("GET", f"{root}/{path}")
    wire.raw("PUT", f"{root}/a.txt", b"again")
    for path in ("..%2Fx", "%2e%2e/x", "a/../../x", "%2Fetc%2Fpasswd", "a%00b"):
        wire.raw("PUT", f"{root}/{path}", b"evil")
        wire.raw("GET", f"{root}/{path}")
    for path in ("..", "../..", "/etc", "a/../.."):
        wire.get("artifacts/list", run_id=made, path=path)
    wire.raw("DELETE", f"{root}/deep")
    wire.get("artifacts/list", run_id=made)


# The registry.


@scenario
def one_try_of_a_prompt(wire, name):
    page, whole = "/ajax-api/2.0/mlflow/runs/create-promptlab-run", {"experiment_id": _experiment(wire, name)}
    for more in (
        {"run_name": "try", "start_time": 7, "user_id": "u"}, {"prompt_template": "say {{word}}"},
        {"prompt_parameters": [{"key": "word", "value": "yes"}]}, {"model_route": "r", "model_output": "out"},
        {"model_input": "say yes", "model_parameters": [{"key": "heat", "value": "0.1"}]}, {"mlflow_version": "3.17.2"},
    ):  # fmt: skip
        whole |= more
        _, answer = wire.raw("POST", page, json.dumps(whole).encode())
    run = json.loads(answer)["run"]["info"]["run_id"]
    wire.post("runs/update", run_id=run, end_time=9)
    wire.get("runs/get", run_id=run)
    wire.raw("GET", f"/get-artifact?run_id={run}&path=eval_results_table.json")
    wire.raw("HEAD", f"/get-artifact?run_id={run}&path=eval_results_table.json")


@scenario
def a_file_in_one_request(wire, name):
    run = _run(wire, _experiment(wire, name))
    page = "/ajax-api/2.0/mlflow/upload-artifact?"
    for query, body in (
        ("", b"x"), (f"run_uuid={run}", b"x"), (f"run_uuid={run}&path=", b"x"), (f"run_uuid={run}&path=../a", b"x"),
        (f"run_uuid={run}&path=a.txt", b""), (f"run_uuid={'0' * 32}&path=a.txt", b"x"),
        (f"run_uuid={run}&path=deep/a.txt", b"abc"),
    ):  # fmt: skip
        wire.raw("POST", page + query, body)
    wire.get("artifacts/list", run_id=run, path="deep")
    wire.raw("GET", f"/get-artifact?run_uuid={run}&path=deep/a.txt")
    wire.raw("GET", "//model-versions/get-artifact?name=none&version=1&path=../a")


@scenario
def a_registered_model_lives(wire, name):
    wire.post("registered-models/create", name=name, description="d", tags=[{"key": "k", "value": "v"}])
    wire.post("registered-models/create", name=name)
    wire.get("registered-models/get", name=name)
    wire.patch("registered-models/update", name=name, description="other")
    wire.post("registered-models/set-tag", name=name, key="k", value="w")
    wire.post("registered-models/set-tag", name=name, key="l", value="")
    wire.delete("registered-models/delete-tag", name=name, key="k")
    wire.delete("registered-models/delete-tag", name=name, key="k")
    wire.get("registered-models/get", name=name)
    wire.post("registered-models/rename", name=name, new_name=name + "-new")
    wire.get("registered-models/get", name=name)
    wire.get("registered-models/get", name=name + "-new")
    wire.delete("registered-models/delete", name=name + "-new")
    wire.delete("registered-models/delete", name=name + "-new")
    wire.get("registered-models/get", name=name + "-new")
    wire.post("registered-models/create", name=name + "-new")
    for wrong in ({}, {"name": ""}, {"name": "a/b"}, {"name": "a:b"}, {"name": 3}):
        wire.post("registered-models/create", **wrong)
    wire.get("registered-models/get")
    wire.patch("registered-models/update", name=name + "-none", description="x")
    wire.post("registered-models/rename", name=name + "-none", new_name="y")
    wire.post("registered-models/set-tag", name=name + "-none", key="k", value="v")
    wire.post("registered-models/set-tag", name=name + "-new", key="", value="v")


@scenario
def versions_of_a_model(wire, name):
    run = _run(wire, _experiment(wire, name))
    source = "mlflow-artifacts:/0/x/artifacts/model"
    wire.post("model-versions/create", name=name, source=source)
    wire.post("registered-models/create", name=name)
    for i in range(3):
        tags = [{"key": "i", "value": str(i)}]
        wire.post(
            "model-versions/create", name=name, source=source, run_id=run if i else "", description=f"d{i}", tags=tags
        )
    wire.get("model-versions/get", name=name, version="1")
    wire.get("model-versions/get", name=name, version="9")
    wire.get("model-versions/get", name=name, version="x")
    wire.get("model-versions/get", name=name)
    wire.get("model-versions/get-download-uri", name=name, version="1")
    wire.patch("model-versions/update", name=name, version="1", description="new")
    wire.post("model-versions/set-tag", name=name, version="1", key="k", value="v")
    wire.post("model-versions/set-tag", name=name, version="9", key="k", value="v")
    wire.delete("model-versions/delete-tag", name=name, version="1", key="k")
    wire.delete("model-versions/delete-tag", name=name, version="1", key="none")
    wire.get("model-versions/get", name=name, version="1")
    wire.post("registered-models/get-latest-versions", name=name)
    wire.post(
        "model-versions/transition-stage", name=name, version="1", stage="Staging", archive_existing_versions=False
    )
    wire.post(
        "model-versions/transition-stage", name=name, version="1", stage="Nowhere", archive_existing_versions=False
    )
    wire.post("registered-models/get-latest-versions", name=name, stages=["Staging"])
    wire.delete("model-versions/delete", name=name, version="2")
    wire.delete("model-versions/delete", name=name, version="2")
    wire.get("model-versions/get", name=name, version="2")
    wire.post("model-versions/create", name=name, source=source)
    wire.get("registered-models/get", name=name)
    wire.post("model-versions/create", name=name)
    wire.post("model-versions/create", source=source)
    wire.post("registered-models/rename", name=name, new_name=name + "-new")
    wire.get("model-versions/get", name=name + "-new", version="1")
    wire.get("model-versions/get", name=name, version="1")


@scenario
def aliases(wire, name):
    wire.post("registered-models/create", name=name)
    for _ in range(2):
        wire.post("model-versions/create", name=name, source="s3://x/y")
    wire.post("registered-models/alias", name=name, alias="champion", version="1")
    wire.get("registered-models/alias", name=name, alias="champion")
    wire.post("registered-models/alias", name=name, alias="champion", version="2")
    wire.get("registered-models/alias", name=name, alias="champion")
    wire.get("registered-models/get", name=name)
    wire.get("model-versions/get", name=name, version="2")
    wire.get("registered-models/alias", name=name, alias="none")
    wire.post("registered-models/alias", name=name, alias="champion", version="9")
    wire.post("registered-models/alias", name=name + "-none", alias="champion", version="1")
    for wrong in ("latest", "v1", "a b", "", "1", "x" * 300):
        wire.post("registered-models/alias", name=name, alias=wrong, version="1")
    wire.delete("registered-models/alias", name=name, alias="champion")
    wire.delete("registered-models/alias", name=name, alias="champion")
    wire.get("registered-models/alias", name=name, alias="champion")
    wire.post("registered-models/alias", name=name, alias="c2", version="2")
    wire.delete("model-versions/delete", name=name, version="2")
    wire.get("registered-models/alias", name=name, alias="c2")


@scenario
def models_and_versions_are_searched(wire, name):
    run = _run(wire, _experiment(wire, name))
    for i, team in enumerate(["a", "b", "a"]):
        wire.post("registered-models/create", name=f"{name}-{i}", tags=[{"key": "team", "value": team}])
        for j in range(i + 1):
            tags = [{"key": "j", "value": str(j)}]
            wire.post("model-versions/create", name=f"{name}-{i}", source=f"s3://x/{i}/{j}", run_id=run, tags=tags)
    mine = f"name LIKE '{name}%'"
    for wish in (
        mine, f"name = '{name}-1'", f"name ILIKE '{name.upper()}%'", f"{mine} AND tags.team = 'a'",
        f"{mine} AND tags.team != 'a'", "name > 'x'", "nonsense", "tags.team = 3", "run_id = 'x'",
    ):  # fmt: skip
        wire.get("registered-models/search", filter=wish, order_by=["name ASC"], max_results=50)
    for order in (["name DESC"], ["name ASC", "last_updated_timestamp DESC"], ["nonsense"], ["creation_timestamp ASC"]):
        wire.get("registered-models/search", filter=mine, order_by=order)
    page = wire.get("registered-models/search", filter=mine, max_results=2)
    wire.get("registered-models/search", filter=mine, max_results=2, page_token=page.get("next_page_token", ""))
    wire.get("registered-models/search", max_results=0)
    wire.get("registered-models/search", max_results=100_000)
    for wish in (
        f"name = '{name}-2'", f"name = '{name}-2' AND tags.j = '1'", f"run_id = '{run}'", f"run_id IN ('{run}')",
        "source_path = 's3://x/2/1'", f"name LIKE '{name}%'", "version_number = 1",
        f"name = '{name}-2' AND version_number > 1",
        "nonsense", "stage = 'x'", "run_id = 3",
    ):  # fmt: skip
        wire.get("model-versions/search", filter=wish, order_by=["name ASC", "version_number ASC"])
    wire.get("model-versions/search", filter=f"name = '{name}-2'", order_by=["version_number DESC"])
    wire.get("model-versions/search", filter=f"name = '{name}-2'", order_by=["nonsense"])
    page = wire.get("model-versions/search", filter=f"name = '{name}-2'", max_results=2)
    wire.get(
        "model-versions/search", filter=f"name = '{name}-2'", max_results=2, page_token=page.get("next_page_token", "")
    )


@scenario
def a_logged_model(wire, name):
    experiment = _experiment(wire, name)
    run = _run(wire, experiment)
    made = wire.post(
        "logged-models", experiment_id=experiment, name="m", model_type="T", source_run_id=run,
        params=[{"key": "a", "value": "1"}], tags=[{"key": "t", "value": "x"}],
    )  # fmt: skip
    model = made.get("model", {}).get("info", {}).get("model_id", "none")
    wire.get(f"logged-models/{model}")
    wire.patch(f"logged-models/{model}", model_id=model, status="LOGGED_MODEL_READY")
    wire.patch(f"logged-models/{model}/tags", tags=[{"key": "u", "value": "y"}])
    wire.get(f"logged-models/{model}")
    wire.delete(f"logged-models/{model}/tags/u")
    wire.delete(f"logged-models/{model}/tags/u")
    wire.post("runs/log-metric", run_id=run, key="auc", value=0.5, timestamp=3, step=1, model_id=model)
    wire.post("runs/outputs", run_id=run, models=[{"model_id": model, "step": 1}])
    wire.get("runs/get", run_id=run)
    wire.post("logged-models/search", experiment_ids=[experiment])
    wire.post("logged-models/search", experiment_ids=[experiment], filter="metrics.auc > 0.4")
    wire.post("logged-models/search", experiment_ids=[experiment], filter="params.a = '2'")
    wire.post("logged-models/search", experiment_ids=[experiment], filter="name = 'm'")
    wire.post("logged-models/search", experiment_ids=[experiment], filter="nonsense")
    wire.get("logged-models/none")
    wire.post("logged-models", experiment_id="999999", name="m")
    wire.post("logged-models", name="m")
    wire.delete(f"logged-models/{model}")
    wire.get(f"logged-models/{model}")


@scenario
def what_is_not_offered(wire, name):
    wire.get("nowhere")
    wire.post("runs/nowhere")
    wire.get("runs/create")
    wire.raw("GET", "/health")
    wire.raw("GET", "/version")
    wire.raw("POST", "/api/2.0/mlflow/runs/create", b"{")
    wire.raw("POST", "/api/2.0/mlflow/runs/create", b"[]")
