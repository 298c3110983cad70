"""Runs searched: MLflow's own parser and judge as the oracle, and what our language says beyond it."""

from __future__ import annotations

import math
import random

import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.store.search import compile_order, compile_query, parse, parse_order
from mlops_tui.store.store import Store
from mlops_tui.tracking.search import keys as search

STATUSES = {"done": "FINISHED", "failed": "FAILED", "running": "RUNNING", "killed": "KILLED", "lost": "KILLED"}
METRICS = ("loss", "val loss", "acc.top-1", "min")
PARAMS = ("lr", "optim", "a`b", "x.y")
TAGS = ("mlflow.user", "stage", "mlflow.source.name")
TEXTS = ("adam", "Adam", "sgd", "0.1", "1e-2", "a%b", "a_b", "ädam", "", "it''s", "don\\'t", "axb")
FIGURES = (0.0, -1.5, 0.5, 0.1, 3, 1e300, math.inf, -math.inf, math.nan)


def made_runs(rng, count):
    """Return random runs as plain data, many of whose values are equal or missing."""
    return [
        {
            "id": f"{rng.randrange(16**8):08x}{i:04x}",
            "name": rng.choice(["one", "One", "two%", "run_3"]),
            "status": rng.choice(list(STATUSES)),
            "started": 1_700_000_000_000 + rng.randrange(4) * 500,
            "ended": rng.choice([None, 1_700_000_100_000 + rng.randrange(3)]),
            "actor": rng.choice(["amal", "ben", ""]),
            "metrics": {key: rng.choice(FIGURES) for key in METRICS if rng.random() < 0.7},
            "params": {key: rng.choice(TEXTS) for key in PARAMS if rng.random() < 0.7},
            "tags": {key: rng.choice(TEXTS) for key in TAGS if rng.random() < 0.7},
            "data": {
                (rng.choice(["census", "Census", "mnist"]), rng.choice("abc"), rng.choice(["train", "eval"]))
                for _ in range(rng.randrange(3))
            },
        }
        for i in range(count)
    ]


def stored(session, runs):
    for run in runs:
        us = {"started_us": run["started"] * 1000, "ended_us": run["ended"] and run["ended"] * 1000}
        same = dict.fromkeys(("kind", "host", "boot", "command", "git_sha", "git_branch", "error", "note"), "")
        facts = {key: run[key] for key in ("id", "name", "status", "actor")}
        session.insert("run", experiment_id="e", tenant="default", **facts, **us, **same)
        for sid, (key, value) in enumerate(run["metrics"].items()):
            figures = {"n": 1, "last_step": 0, "last_ts_us": 0, "last": value, "low": value, "high": value}
            session.insert("series", sid=sid, scope="run", owner=run["id"], key=key, nonfinite=0, **figures)
        for key, value in run["params"].items():
            session.insert("param", run=run["id"], key=key, value=value, num=None)
        for key, value in run["tags"].items():
            session.insert("tag", object=run["id"], key=key, value=value, ts_us=0)
        for name, digest, context in run["data"]:
            session.insert("run_data", run=run["id"], name=name, digest=digest, context=context, ts_us=0)


def as_mlflow(run):
    """Return a run as MLflow's entity."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunData, RunInfo, RunInputs, RunTag

    info = RunInfo(
        run["id"], "0", run["actor"], STATUSES[run["status"]], run["started"], run["ended"], "active",
        run_name=run["name"],
    )  # fmt: skip
    data = RunData(
        [Metric(key, value, 0, 0) for key, value in run["metrics"].items()],
        [Param(key, value) for key, value in run["params"].items()],
        [RunTag(key, value) for key, value in run["tags"].items()],
    )
    inputs = [
        DatasetInput(Dataset(name, digest, "local", "x"), [InputTag("mlflow.data.context", context)])
        for name, digest, context in run["data"]
    ]
    return Run(info, data, RunInputs(inputs))


def quoted(rng, text):
    mark = rng.choice("'\"") if '"' not in text else "'"
    return f"{mark}{text}{mark}"


def text_condition(rng, key, comparators=("=", "!=", "LIKE", "ILIKE", "like", "Ilike")):
    comparator = rng.choice(comparators)
    text = rng.choice(TEXTS)
    if "like" in comparator.lower():
        text = rng.choice(["%", "a%", "%m", "_dam", "%D%", "a_b", "a\\%b", text])
    return f"{key}{rng.choice([' ', '  '])}{comparator} {quoted(rng, text)}"


def condition(rng):
    """Return a random condition in MLflow's grammar."""
    ordered = rng.choice(["=", "!=", "<", "<=", ">", ">="])
    match rng.randrange(9):
        case 0 | 1:
            scope, key = rng.choice(["metric", "metrics"]), rng.choice(METRICS)
            key = key if key.isalpha() and rng.random() < 0.5 else rng.choice(["`{}`", '"{}"']).format(key)
            gap = rng.choice(["", " "])
            return f"{scope}.{key}{gap}{ordered}{gap}{rng.choice(['0', '-1.5', '0.5', '.1', '1e300', '3', '1e400'])}"
        case 2 | 3:
            scope, key = rng.choice(["param", "params", "parameter", "parameters"]), rng.choice(PARAMS)
            key = key if key.isalpha() else f'"{key}"'
            if rng.random() < 0.2:
                return f"{scope}.{key} {rng.choice(['IS NULL', 'is not null', 'IS NOT NULL'])}"
            return text_condition(rng, f"{scope}.{key}")
        case 4:
            key = f"{rng.choice(['tag', 'tags'])}.{rng.choice(['`{}`', '{}']).format(rng.choice(TAGS))}"
            if rng.random() < 0.2:
                return f"{key} {rng.choice(['IS NULL', 'IS NOT NULL'])}"
            return text_condition(rng, key)
        case 5:
            prefix = rng.choice(["", "attribute.", "attributes.", "attr.", "run."])
            key = rng.choice(["start_time", "end_time", "created", "`Created`"])
            return f"{prefix}{key} {ordered} {rng.choice([1_700_000_000_500, 1_700_000_100_001, 17.5, -3])}"
        case 6:
            key = rng.choice(["run_name", "`Run name`", '"run name"', "user_id", "attribute.run_name"])
            value = rng.choice(["one", "ONE", "t%", "run_3", "amal", ""])
            return f"{key} {rng.choice(['=', '!=', 'LIKE', 'ILIKE'])} {quoted(rng, value)}"
        case 7:
            prefix, state = rng.choice(["", "attributes."]), rng.choice(list(STATUSES.values()))
            return f"{prefix}status {rng.choice(['=', '!='])} '{state}'"
        case _:
            key = f"{rng.choice(['dataset', 'datasets'])}.{rng.choice(['name', 'digest', 'context'])}"
            if rng.random() < 0.4:
                among = rng.choice(["'census', 'a'", "'train'", "'b',"])
                return f"{key} {rng.choice(['IN', 'NOT IN', 'not in'])} ({among})"
            return text_condition(rng, key)


@pytest.fixture(scope="module")
def oracle():
    return pytest.importorskip("mlflow.utils.search_utils").SearchUtils


@pytest.fixture(scope="module")
def runs():
    return made_runs(random.Random(7), 60)


@pytest.fixture(scope="module")
def session(tmp_path_factory, runs):
    store = Store(tmp_path_factory.mktemp("search") / "store", None)
    store.write(lambda session: stored(session, runs))
    with store.read(600) as reading:
        yield reading
    store.close()


def found(session, text, order=(), dialect="mlflow"):
    where, values = compile_query(parse(text, dialect), search.RUN)
    by = compile_order(parse_order(list(order), dialect), search.RUN, ["r.started DESC", "r.id"])
    sql = f"SELECT r.id FROM run r {by.joins} WHERE {where} ORDER BY {by.by}"
    return session.column(sql, [*by.params, *values])


def test_the_same_runs_as_mlflow_finds(oracle, runs, session):
    rng, theirs, some = random.Random(11), [as_mlflow(run) for run in runs], 0
    for _ in range(300):
        joint = rng.choice([" AND ", " and ", "\n AND  "])
        text = joint.join(condition(rng) for _ in range(rng.choice([1, 1, 2, 3])))
        wanted = sorted(run.info.run_id for run in oracle.filter(theirs, text))
        assert sorted(found(session, text)) == wanted, text
        some += bool(wanted) and len(wanted) < len(runs)
    assert some > 100  # most filters tell runs apart


def test_the_same_order_as_mlflows(oracle, runs, session):
    rng, theirs = random.Random(13), [as_mlflow(run) for run in runs]
    keys = [f"metrics.`{key}`" for key in METRICS] + ["params.lr", "params.optim", "tags.stage", "tag.`mlflow.user`"]
    keys += ["start_time", "attributes.end_time", "attribute.status", "run_id", "user_id", "Created"]
    for _ in range(100):
        order = [key + rng.choice(["", " asc", " DESC", " ASC"]) for key in rng.sample(keys, rng.choice([1, 1, 2, 3]))]
        if "start_time" in str(order) and "Created" in str(order):
            continue
        assert found(session, "", order) == [run.info.run_id for run in oracle.sort(theirs, order)], order


@pytest.mark.parametrize(
    ("text", "under"),
    [
        ("acc >= 0.94", "acc"),
        ("attribute.start != 1", "attribute"),
        ("metrics.loss = 'x'", "'x'"),
        ("metrics.loss LIKE 'x'", "LIKE"),
        ("params.lr = fast", "fast"),
        ("params.lr > '0.1'", ">"),
        ("tags.stage IN ('a', b)", "b"),
        ("status = FINISHED", "FINISHED"),
        ("status > 'FAILED'", ">"),
        ("start_time > 'soon'", "'soon'"),
        ("start_time LIKE '1%'", "LIKE"),
        ("dataset.source = 'x'", "dataset"),
        ("run_id IN (1, 2)", "1"),
    ],
)
def test_what_mlflow_refuses_is_refused_with_a_caret(oracle, session, text, under):
    with pytest.raises(Exception, match=r"."):
        oracle.filter([as_mlflow(made_runs(random.Random(1), 1)[0])], text)
    with pytest.raises(BadInput) as error:
        found(session, text)
    assert error.value.why.split("\n")[1].index("^") == text.index(under)


def test_the_wire_takes_what_mlflow_lacks(runs, session):
    def ids(test):
        return sorted(run["id"] for run in runs if test(run))

    metric = lambda run: run["metrics"].get("loss", math.nan)  # noqa: E731
    either = ids(lambda run: metric(run) < 0 or run["params"].get("lr") == "adam")
    assert sorted(found(session, "metrics.loss < 0 OR (params.lr = 'adam')")) == either
    assert sorted(found(session, "NOT metrics.loss < 0")) == ids(lambda run: not metric(run) < 0)
    assert sorted(found(session, "metrics.loss BETWEEN 0 AND 3")) == ids(lambda run: 0 <= metric(run) <= 3)
    assert sorted(found(session, "params.lr ~ '^ad'")) == ids(
        lambda run: run["params"].get("lr", "").lower()[:2] == "ad"
    )
    assert sorted(found(session, "min(metrics.loss) <= 0")) == ids(lambda run: metric(run) <= 0)
    assert sorted(found(session, "start_time >= '2023-11-14'")) == ids(lambda run: True)
