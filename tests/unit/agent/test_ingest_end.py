"""The end of spool files: what a killed writer left is taken in to its last whole record, then the file goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import msgspec
import orjson
import pytest

from mlops_tui.agent import ingest
from mlops_tui.agent.ingest import Ingestor
from mlops_tui.core.clock import now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.core.paths import private_dir
from mlops_tui.jobs.spec import Spec
from mlops_tui.serving.record.segments import Header, SegmentName, SegmentWriter, record
from mlops_tui.spool.writer import Writer


def line(step):
    return orjson.dumps({"v": 1, "e": "m", "t": now_us(), "s": step, "m": {"loss": 0.5}}) + b"\n"


@pytest.fixture
def ingestor(house):
    house.ingestor = Ingestor(house)
    return house.ingestor


@pytest.fixture
def gone():
    """The pid of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return child.pid


@pytest.fixture
def spooled(home):
    """A function that returns the place of a spool file by its writer."""

    def path(pid, name="{host}-{pid}-{now}.jsonl"):
        folder = private_dir(home.spool / uuid7())
        return folder / name.format(host=os.uname().nodename, pid=pid, now=now_us() - 5_000_000)

    return path


def steps(house):
    return house.read(lambda s: s.column("SELECT step FROM point ORDER BY step"))


def test_a_line_that_a_killed_writer_tore_is_left_and_the_file_goes(house, ingestor, spooled, gone):
    path = spooled(gone)
    path.write_bytes(line(0) + line(1) + line(2)[:20])
    ingestor.drain()
    assert steps(house) == [0, 1]
    assert not path.exists()
    assert not ingestor.owes(path.parent.name)


def test_pieces_are_small_while_somebody_reads_and_both_cores_are_taken_while_much_waits(
    house, ingestor, spooled, gone, monkeypatch
):
    lines = [line(n) for n in range(30)]
    spooled(gone).write_bytes(b"".join(lines))
    monkeypatch.setattr(ingest, "PIECE", 3 * len(lines[0]))
    monkeypatch.setattr(ingest, "MUCH", 100)
    assert house.read(lambda s: s.value("SELECT 1")) == 1
    assert ingestor.turn() == 3 * len(lines[0]) and house.store.readers.crowded
    monkeypatch.setattr(ingest, "LATELY_S", -1.0)
    assert ingestor.turn() == sum(map(len, lines[3:]))
    ingestor.turn()
    assert steps(house) == list(range(30)) and not house.store.readers.crowded


def test_a_segment_record_that_a_killed_server_tore_is_left_and_the_file_goes(house, ingestor, spooled, gone):
    path = spooled(gone).parent / str(SegmentName(os.uname().nodename, gone, now_us(), 1))
    writer = SegmentWriter(path, Header(path.parent.name, ("a",), ("y",)))
    row = b"\0\0\0\0"
    one, two = (b"".join(record(now_us(), 1, 0, 0, 10, 1, ident, row, row)) for ident in (b"one", b"two"))
    writer.append([one, two[:-3]])
    writer.close()
    ingestor.drain()
    assert house.read(lambda s: s.column("SELECT request_id FROM inference")) == ["one"]
    assert not path.exists()


def test_a_torn_line_of_a_living_writer_is_waited_for(house, ingestor, spooled):
    path = spooled(os.getpid())
    path.rename(path) if path.exists() else path.touch()
    path.write_bytes(line(0) + line(1)[:20])
    living = path.with_name(path.name.rpartition("-")[0] + f"-{now_us() + 60_000_000}.jsonl")
    path.rename(living)
    ingestor.drain()
    assert living.exists() and steps(house) == [0]


def test_a_clock_that_is_set_forward_does_not_cut_a_living_writer_off(house, ingestor, spooled):
    """Found by an hour: the writer seemed younger than its file, which was deleted while it wrote on."""
    mine, others = spooled(0), spooled(0)
    with mine.open("ab") as file, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file) as writer:
        for path in (mine, others):  # to look at, both are an hour older than the process
            path.touch()
            path.rename(path.with_name(f"{os.uname().nodename}-{writer.pid}-{now_us() - 3_600_000_000}.jsonl"))
        ingestor.drain()
        assert len(list(mine.parent.iterdir())) == 1 and not others.parent.exists()
        writer.stdin.write(line(7))
        writer.stdin.close()
        writer.wait()
    ingestor.drain()
    assert steps(house) == [7] and not mine.parent.exists()


def test_last_words_between_the_look_and_the_death_are_not_deleted(house, ingestor, spooled, gone, monkeypatch):
    path = spooled(gone)
    path.write_bytes(line(0))
    ingestor.turn()

    def speaks_and_dies(found):
        if path.stat().st_size == len(line(0)):
            with path.open("ab") as file:
                file.write(line(1))
        return False

    monkeypatch.setattr(ingest, "_may_grow", speaks_and_dies)
    ingestor.turn()
    ingestor._checkpoint().result(timeout=30)
    deadline = time.monotonic() + 5
    while ingestor.turn() and time.monotonic() < deadline:
        continue
    assert steps(house) == [0, 1]


def test_the_end_of_a_job_waits_for_what_its_run_has_written(house, ingestor, home, gone):
    """Found by a fast reader: the job was done while its run, whose end had been written first, still went on."""
    run, job = uuid7(), uuid7()
    house.store.write(
        lambda s: s.insert(
            "job", id=job, tenant="default", name="train", kind="train", status="running", attempt=1, retries=0,
            spec=msgspec.json.encode(Spec(job=job, name="train", kind="train", argv=["x"], run=run)).decode(),
            created_us=now_us(), host="", boot="", actor="amal", run_id=run,
        )
    )  # fmt: skip
    of_job = Writer(home.spool, job, kind="job", job={"name": "train", "kind": "train", "run": run})
    ingestor.turn()
    of_run = Writer(home.spool, run, run={"experiment": "e", "name": "last"})
    of_run.end("done")
    of_job.end("done", 0)
    file = ingestor._files[of_job.path]  # as if the job's file came first, in a turn that does not know the other yet
    file.size = of_job.path.stat().st_size
    ingestor._forward(file)
    assert house.read(lambda s: s.rows("SELECT status FROM job")) == [("done",)]
    assert house.read(lambda s: s.rows("SELECT status FROM run")) == [("done",)]
