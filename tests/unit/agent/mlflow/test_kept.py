"""Runs as they were shown before: whatever is written, what is kept says what the store says."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest

from mlops_tui.agent.mlflow import registry_json, runs_json
from mlops_tui.agent.mlflow.coding import encode
from mlops_tui.registry.versions import versions_by_id
from mlops_tui.store.series import SeriesBook
from mlops_tui.store.store import Store
from mlops_tui.store.tags import change_tags

RUNS = [f"0193a000-0000-7000-8000-{number:012d}" for number in range(6)]
FACTS = dict.fromkeys(("kind", "host", "boot", "actor", "command", "git_sha", "git_branch", "error", "note"), "")
NEWEST = "SELECT id, name FROM run WHERE status = ? ORDER BY id DESC LIMIT 3"


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store", None)
    made.book = SeriesBook()
    made.settled = made.book.settled
    made.write(fill)
    yield made
    made.close()


def fill(session):
    session.insert("experiment", id="e", tenant="default", name="x", number=7, created_us=1)
    at = {"started_us": 1, "experiment_id": "e", "tenant": "default", "status": "done"}
    for run in RUNS[:5]:
        session.insert("run", id=run, name=run[-2:], **at, **FACTS)


def shown(session):
    return [bytes(one) for one in runs_json.encoded(session, RUNS)]


def fresh(session):
    return [encode(body) for body in runs_json.whole(session, RUNS)]


def changes(store, chance):
    """Yield what may be done to a run and what hangs on it, each as a function of a session."""
    run, word, point = chance.choice(RUNS), str(chance.randrange(10**6)), np.zeros(1, np.int64)
    at = {"started_us": 1, "experiment_id": "e", "tenant": "default", "status": "done"}
    made = {"name": word, **at, **FACTS}
    used = {"digest": "d", "context": "", "source_type": "", "source": "", "schema_text": "", "profile": "", "tags": ""}
    yield lambda s: s.execute("UPDATE run SET note = ? WHERE id = ?", [word, run])
    yield lambda s: s.execute("  UPDATE run SET name = ? WHERE status = 'done'", [word])
    yield lambda s: s.change("run", [run], "UPDATE run SET actor = ? WHERE id = ?", [word, run])
    yield lambda s: s.value("DELETE FROM run WHERE id = ?", [RUNS[5]])
    yield lambda s: [s.execute("DELETE FROM run WHERE id = ?", [RUNS[5]]), s.insert("run", id=RUNS[5], **made)]
    yield lambda s: store.book.append_coded(s, "run", run, ["loss"], point, [1], [1], [chance.random()])
    yield lambda s: s.insert_columns("param", {"run": [run], "key": [word], "value": ["1"], "num": [1.0]})
    yield lambda s: change_tags(s, run, {f"t{word[0]}": word}, [], 1)
    yield lambda s: s.insert("run_data", run=run, name=word, ts_us=1, **used)
    yield lambda s: s.insert("run_model", run=run, model=word, way="in", step=0, ts_us=1)
    yield lambda s: s.execute("DELETE FROM run_model WHERE run IN (SELECT unnest(?))", [[run]])
    yield lambda s: s.execute("UPDATE experiment SET place = ? WHERE id = 'e'", [f"s3://{word}"])
    yield lambda s: s.execute("UPDATE experiment SET note = ? WHERE id = 'e'", [word])


def test_what_is_kept_is_what_the_store_says_whatever_is_written(store):
    chance, kept, seen = random.Random(11), 0, set()
    for turn in range(130):
        with store.read(60) as session:
            before = shown(session)
        kinds = list(changes(store, chance))
        store.write(kinds[turn % len(kinds)])
        with store.read(60) as session:
            now, again = fresh(session), shown(session)
            assert again == now, turn % len(kinds)
            assert session.kept_rows(NEWEST, ["done"]) == session.rows(NEWEST, ["done"])
        kept += len(set(before) & set(now))
        seen.update(now)
    assert kept > 300 and len(seen) > 100


def test_nothing_is_made_or_asked_twice_while_nothing_changes(store, monkeypatch):
    asked, bodies = [], runs_json._bodies
    monkeypatch.setattr(runs_json, "_bodies", lambda session, runs: asked.append(runs) or bodies(session, runs))
    for _ in range(3):
        with store.read(60) as session:
            shown(session)
    assert asked[0] == RUNS and not any(set(runs) & set(RUNS[:5]) for runs in asked[1:])
    store.write(lambda s: s.change("run", [RUNS[2]], "UPDATE run SET note = 'n' WHERE id = ?", [RUNS[2]]))
    with store.read(60) as session:
        assert msgspec.json.decode(shown(session)[2])["data"]["tags"][-1]["value"] == "n"
    assert RUNS[2] in asked[-1] and RUNS[1] not in asked[-1]
    with store.read(60) as session:
        first = session.kept_rows(NEWEST, ["done"])
        assert session.kept_rows(NEWEST, ["done"]) is first and session.kept_rows(NEWEST, ["failed"]) == []


def test_a_transaction_that_began_before_a_commit_leaves_nothing_behind(store):
    with store.read(60) as session:
        session.rows("SELECT * FROM run")  # from now on it sees nothing newer
        store.write(lambda s: s.change("run", [RUNS[1]], "UPDATE run SET note = 'new' WHERE id = ?", [RUNS[1]]))
        store.write(lambda s: s.execute("UPDATE run SET status = 'failed' WHERE id = ?", [RUNS[0]]))
        assert b"new" not in shown(session)[1] and len(session.kept_rows(NEWEST, ["failed"])) == 0
    with store.read(60) as session:
        assert b"new" in shown(session)[1] and len(session.kept_rows(NEWEST, ["failed"])) == 1


def test_what_is_rolled_back_and_what_is_much_is_not_kept(store):
    texts, answers = store.kept.texts["run"], store.kept.answers
    texts._most = 900
    with store.read(60) as session:
        first = shown(session)
        for wanted in range(100):
            session.kept_rows(f"SELECT {wanted}")
            session.kept_rows("SELECT * FROM range(30_000) WHERE range >= ?", [wanted % 2])
    assert 0 < texts._size <= 900 and sum(map(len, texts._kept.values())) == texts._size
    assert len(answers._kept) <= 64 and answers._rows == sum(len(rows) for _, rows in answers._kept.values()) <= 50_000

    def fails(session):
        session.execute("UPDATE run SET note = 'gone'")
        raise KeyError

    with pytest.raises(KeyError):
        store.write(fails)
    with store.read(60) as session:
        assert shown(session) == first == fresh(session)


def versions(session):
    ids = session.column("SELECT id FROM model_version ORDER BY id")
    return [bytes(one) for one in registry_json.versions_encoded(session, ids)], [
        encode(one) for one in registry_json.versions_json(session, versions_by_id(session, ids))
    ]


def test_versions_that_are_kept_are_those_of_the_store(store):
    about = {"digest": "d", "size": 1, "format": "onnx", "description": "", "signature": "{}", "actor": "amal"}

    def write(session):
        session.insert("model", id="m", tenant="default", name="census", created_us=1, actor="amal")
        for number in (1, 2):
            session.insert("model_version", id=f"v{number}", model_id="m", version=number, created_us=1, **about)

    def alias(session, seq, version):
        session.insert(
            "alias_event", seq=seq, model_id="m", alias="champion", version_id=version, actor="", reason="", ts_us=1
        )

    seen = []
    for change in (
        write,
        lambda s: alias(s, 1, "v1"),
        lambda s: alias(s, 2, "v2"),
        lambda s: change_tags(s, "v1", {"a": "b"}, [], 1),
        lambda s: s.execute("UPDATE model SET name = 'other' WHERE id = 'm'"),
        lambda s: s.execute("UPDATE model_version SET stage = 'Production' WHERE id = 'v1'"),
        lambda s: alias(s, 3, None),
        lambda s: s.execute("DELETE FROM model_version WHERE id = 'v2'"),
    ):
        store.write(change)
        for _ in range(2):
            with store.read(60) as session:
                kept, fresh = versions(session)
                assert kept == fresh
        seen.append(tuple(kept))
    assert len(set(seen)) == len(seen) and len(store.kept.texts["model_version"]._kept) == 1
