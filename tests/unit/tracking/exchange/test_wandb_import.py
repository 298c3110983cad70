"""Imports from W&B: the folder beside this file was written by wandb 0.31 in offline mode, by its train.py."""

from __future__ import annotations

import math
import shutil
import struct
import zlib
from pathlib import Path

import pytest

from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.tracking.exchange import wandb_log, worker
from mlops_tui.tracking.exchange.open import wandb_source

FOLDER = Path(__file__).with_name("wandb")
FIRST = next(FOLDER.glob("offline-run-*-78wzwwqh/*.wandb"))


@pytest.fixture
def bring(job):
    def asked(source, **more):
        request = {"tool": "wandb", "source": str(source), "experiment": [], "artifacts": True, "look": False, **more}
        return worker.bring(request, job())

    return asked


def test_runs_come_whole_and_once(bring, house):
    told = bring(FOLDER)
    assert (told["runs"], told["new_runs"], told["files"]) == (2, 2, 2)
    with house.store.read() as session:
        first, second = session.dicts("SELECT *, epoch_us(ended - started) AS took FROM run ORDER BY name")
        assert (first["name"], first["status"], first["note"]) == ("seed-1", "done", "a note")
        assert (second["status"], second["error"]) == ("failed", "exit code 3")
        assert 0 < first["took"] < 60_000_000 and first["host"] and first["command"].endswith("train.py")
        assert session.value("SELECT name FROM experiment") == "churn"
        params = dict(session.rows("SELECT key, value FROM param WHERE run = ?", [first["id"]]))
        assert params == {"lr": "0.1", "net.layers": "[3, 4]", "net.act": "relu", "late": "5"}
        tags = dict(session.rows("SELECT key, value FROM tag WHERE object = ?", [first["id"]]))
        assert tags["wandb.tags"] == "seed, small" and tags["wandb.group"] == "sweep"
        assert tags["mlops.import.run"] == "78wzwwqh" and tags["wandb.summary.phase"] == "warm"
        mine = dict(session.rows("SELECT key, n FROM series WHERE owner = ?", [first["id"]]))
        own = {key: n for key, n in mine.items() if not key.startswith("system/")}
        assert own == {"loss": 120, "val.acc": 120, "odd": 120, "best": 1}
        assert mine["system/memory_percent"] >= 1
        points = session.rows(
            """SELECT p.step, p.value FROM point p JOIN series s USING (sid)
               WHERE s.owner = ? AND s.key = 'odd' ORDER BY p.step LIMIT 3""",
            [first["id"]],
        )
        assert math.isnan(points[0][1]) and points[1:] == [(2, math.inf), (4, -math.inf)]
        # the framing goes on over the border of a block: every step is there
        steps = session.column(
            "SELECT step FROM point p JOIN series s USING (sid) WHERE s.owner = ? AND s.key = 'loss'", [first["id"]]
        )
        assert sorted(steps) == list(range(0, 240, 2))
    again = bring(FOLDER.parent)
    assert (again["new_runs"], again["new_points"], again["digest"]) == (0, 0, told["digest"])


def test_a_run_that_was_killed_and_resumed_is_one_run(bring, house, tmp_path):
    whole = FIRST.read_bytes()
    before = tmp_path / "wandb" / "offline-run-20261126_080000-78wzwwqh"
    for folder, content in ((before, "old"), (tmp_path / "wandb" / FIRST.parent.name, "newer")):
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "twice.txt").write_text(content)
    (before / FIRST.name).write_bytes(whole[: len(whole) // 2])
    told = bring(tmp_path)
    assert (told["runs"], told["new_runs"]) == (1, 1)
    read = house.read
    assert read(lambda s: s.row("SELECT status, error FROM run")) == ("lost", "it had not ended when it was imported")
    some = told["new_points"]
    shutil.copytree(FIRST.parent, tmp_path / "wandb" / FIRST.parent.name, dirs_exist_ok=True)
    again = bring(tmp_path)
    assert (again["runs"], again["new_runs"]) == (1, 0) and again["new_points"] > 0
    assert read(lambda s: s.value("SELECT status FROM run")) == "done"
    assert read(lambda s: s.value("SELECT n FROM series WHERE key = 'loss'")) == 120
    assert some + again["new_points"] == read(lambda s: s.value("SELECT count(*) FROM point"))
    files = "SELECT path, size FROM run_artifact WHERE path = 'twice.txt'"
    assert read(lambda s: s.rows(files)) == [("twice.txt", 5)], (
        "a run of several folders has each file once, the newest"
    )


def test_what_is_no_run_file_and_what_is_damaged(bring, tmp_path):
    with pytest.raises(BadInput, match="holds no runs"):
        wandb_source(str(tmp_path))
    with pytest.raises(BadInput, match="is no folder"):
        wandb_source("https://wandb.ai/a/b")
    (tmp_path / "run-x.wandb").write_bytes(b"hello, this is no run file")
    with pytest.raises(BadInput, match="is no run file"):
        wandb_source(str(tmp_path))
    spoilt = bytearray(FIRST.read_bytes())
    spoilt[200] ^= 1
    (tmp_path / "run-x.wandb").write_bytes(spoilt)
    with pytest.raises(MlopsError, match="is damaged"):
        list(wandb_log.records(tmp_path / "run-x.wandb"))


@pytest.mark.parametrize("cut", [3, 7, 1000, 32768, 32772, 40000])
def test_a_torn_end_is_the_end(tmp_path, cut):
    whole = list(wandb_log.records(FIRST))
    path = tmp_path / "torn.wandb"
    path.write_bytes(FIRST.read_bytes()[:cut])
    if cut < 7:
        with pytest.raises(BadInput):
            list(wandb_log.records(path))
    else:
        found = list(wandb_log.records(path))
        assert found == whole[: len(found)] and len(found) < len(whole)


@pytest.mark.parametrize("left", range(9))
def test_the_end_of_a_block_where_no_head_fits_is_passed_over(tmp_path, left):
    first = bytes(32768 - 7 - 7 - left)  # the file's own head, the chunk's head, and what is left of the block
    wanted = [first, b"second", bytes(70_000), b"", b"last"]
    path = tmp_path / "framed.wandb"
    path.write_bytes(framed(wanted))
    assert list(wandb_log.records(path)) == wanted


def framed(records):
    """Write records as LevelDB's log does."""
    out = bytearray(struct.pack("<4sHB", b":W&B", 0xBEE1, 0))
    for record in records:
        begun = False
        while True:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                continue
            part, record = record[: room - 7], record[room - 7 :]
            kind = (3 if record else 4) if begun else (2 if record else 1)
            out += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
            begun = True
            if not record:
                break
    return bytes(out)
