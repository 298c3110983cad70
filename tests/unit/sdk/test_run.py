"""A run in a script: what it writes, whom it belongs to, and that it gives no trouble."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import mlops_tui as mlops
from mlops_tui import sdk
from mlops_tui.core.ids import short, uuid7
from mlops_tui.core.paths import home
from mlops_tui.spool import writer
from mlops_tui.spool.files import kept_file


def test_a_run_from_start_to_end(events, capsys):
    with mlops.start_run(experiment="census", name="first", params={"z": 1, "a": 0.5}, tags={"stage": "dev"}) as run:
        assert mlops.active_run() is run and not run.ended
        run.log({"loss": np.float32(0.5), "nan": float("nan")}, step=3)
        run.log({"loss": 0.25})
        run.log_param("late", [1])
        run.log_params({"more": True})
        run.set_tag("owner", "me")
        run.set_tags({"a": 1})
        run.use_dataset("census@3", digest="blake3:00")
    assert mlops.active_run() is None and run.ended
    found = events(run.id)
    assert found.start.run.experiment == "census" and found.start.run.name == "first"
    assert list(found.start.run.params.items()) == [("z", "1"), ("a", "0.5")] and found.start.run.tags == {
        "stage": "dev"
    }
    assert [found.points[0], found.points[2]] == [("loss", 3, 0.5), ("loss", 4, 0.25)] and found.points[1][:2] == (
        "nan",
        3,
    )
    assert [param.p for param in found.of("Param")] == [{"late": "[1]"}, {"more": "True"}]
    assert found.tags["owner"] == "me" and found.tags["a"] == "1"
    assert [(data.name, data.digest, data.context) for data in found.of("Dataset")] == [
        ("census@3", "blake3:00", "training")
    ]
    assert found.ends == [("done", None, "")]
    assert capsys.readouterr().err == f"mlops: run first of census · mlops open run:{short(run.id)}\n"


def test_the_module_speaks_to_the_active_run(events, tmp_path):
    run = mlops.start_run("e")
    mlops.log({"a": 1}, step=1)
    mlops.log_param("p", 1)
    mlops.log_params({"q": 2})
    mlops.set_tag("t", 1)
    mlops.set_tags({"u": 2})
    mlops.use_dataset("d@1")
    mlops.log_artifact(b"x", path="f")
    run.end()
    found = events()
    assert found.points == [("a", 1, 1.0)] and len(found.of("Param")) == 2 and {"t", "u"} <= found.tags.keys()
    assert len(found.of("Dataset")) == len(found.of("Artifact")) == 1


def test_without_a_run_the_module_says_so_once(capsys, monkeypatch):
    monkeypatch.setattr(sdk.logged, "_notices", sdk.logged.Notices())
    mlops.log({"a": 1})
    mlops.set_tag("a", 1)
    assert capsys.readouterr().err.count("no active run") == 1


def test_what_is_captured_without_being_asked(events, script):
    done = script(
        "import random, sys\nrandom.seed(1)\nwith mlops.start_run('e'): pass",
        "--api-key=abc",
        "--lr",
        "0.1",
        PYTHONHASHSEED="7",
    )
    found = events()
    facts, env = found.start.run, found.start.run.env
    assert (
        done.returncode == 0
        and facts.actor == env["user"]
        and env["host"] == os.uname().nodename == found.start.process.host
    )
    assert env["python"] == ".".join(map(str, sys.version_info[:3])) and env["seeds"]["PYTHONHASHSEED"] == "7"
    assert env["seeds"]["random"].startswith("state:")
    assert facts.hardware["cpus"] == os.cpu_count() and facts.hardware["memory"] > 10**8
    assert facts.command.endswith("train.py '--api-key=***' --lr 0.1")
    assert found.tags["env.packages"].startswith("sha256:") and len(found.tags["env.packages"]) == 71


def test_artifacts_are_copies(events, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"first")
    (tmp_path / "model" / "deep").mkdir()
    (tmp_path / "model" / "deep" / "card.md").write_text("card")
    with mlops.start_run("e") as run:
        run.log_artifact(tmp_path / "model" / "weights.bin")
        run.log_artifact(str(tmp_path / "model" / "weights.bin"), path="onnx/")
        run.log_artifact(tmp_path / "model" / "weights.bin", path="./a//b.bin")
        run.log_artifact(b"bytes", path="note.txt")
        run.log_artifact(tmp_path / "model")
        (tmp_path / "model" / "weights.bin").write_bytes(b"second, later")
    kept = {one.path: one for one in events().of("Artifact")}
    assert list(kept) == [
        "weights.bin",
        "onnx/weights.bin",
        "a/b.bin",
        "note.txt",
        "model/deep/card.md",
        "model/weights.bin",
    ]
    for path in ("weights.bin", "onnx/weights.bin", "a/b.bin", "model/weights.bin"):
        assert kept_file(home().spool, run.id, kept[path].file).read_bytes() == b"first" and kept[path].size == 5
    assert Path(kept["note.txt"].file).read_bytes() == b"bytes"


def test_of_a_folder_all_is_kept_that_can_be_and_the_disk_is_waited_for_once_a_file(
    events, tmp_path, monkeypatch, capsys
):
    (tmp_path / "some").mkdir()
    for name in ("a.txt", "line\nbreak", "z.txt"):
        (tmp_path / "some" / name).write_text(name)
    (tmp_path / "some" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "some" / "no.sock").symlink_to("/proc/self/mem")  # a file, but it cannot be read
    synced = []
    with mlops.start_run("e") as run:
        monkeypatch.setattr(os, "fsync", lambda fd, sync=os.fsync: synced.append(fd) or sync(fd))
        run.log_artifact(tmp_path / "some")
    assert [one.path for one in events().of("Artifact")] == ["some/a.txt", "some/z.txt"]
    assert len(synced) == 3, "two files and their folder"
    assert capsys.readouterr().err.count("could not be kept") == 1


@pytest.mark.parametrize(
    ("source", "path"),
    [("missing", None), (b"x", None), (b"x", "../out"), (b"x", "/abs"), (b"x", ""), (b"x", 5), (7, None), (None, "x")],
)
def test_an_artifact_that_cannot_be_kept_is_said_and_left_out(events, capsys, source, path):
    with mlops.start_run("e") as run:
        run.log_artifact(source, path)
        run.log_artifact(source, path)
    assert events().of("Artifact") == [] and capsys.readouterr().err.count("could not be kept") == 1
    assert not list(home().spool.glob("*/files/*"))


def test_nothing_raises_whatever_is_given(events, capsys):
    class Nasty:
        def __str__(self):
            raise RuntimeError

        __repr__ = __bool__ = __fspath__ = __float__ = __str__

        def keys(self):
            raise RuntimeError

    run = mlops.start_run(Nasty(), name=Nasty(), params=Nasty(), tags=Nasty(), resume=Nasty(), kind=Nasty())
    for junk in (Nasty(), None, 3, "x", {1: 2}, {"a": Nasty()}, np.zeros(3)):
        run.log(junk)
        run.log({"a": 1}, step=junk)
        run.log_params(junk)
        run.log_param(junk, junk)
        run.set_tags(junk)
        run.set_tag(junk, junk)
        run.log_artifact(junk, junk)
        run.use_dataset(junk, junk, junk)
    run.end(Nasty(), Nasty())
    run.log({"a": 1})
    run.log_artifact(b"x", "y")
    run.end()
    assert events().start.run.experiment == "Default" and len(events().ends) == 1
    assert capsys.readouterr().err.count("\n") < 15


def test_after_the_end_one_word_and_nothing_written(events, capsys):
    run = mlops.start_run("e")
    run.end("failed", "because")
    run.log({"a": 1})
    run.log_artifact(b"x", path="x")
    run.set_tag("a", 1)
    run.end("done")
    assert events().ends == [("failed", None, "because")] and not events().points
    assert capsys.readouterr().err.count("after the run had ended") == 1
    assert not list(home().spool.glob("*/files/*"))


@pytest.mark.parametrize(
    ("given", "kept"), [("FINISHED", "done"), ("failed", "failed"), ("Killed", "killed"), ("odd", "done")]
)
def test_words_for_the_end(events, given, kept):
    mlops.start_run("e").end(given)
    assert events().ends[0][0] == kept


def test_a_home_that_cannot_be_written_costs_one_line(monkeypatch, tmp_path, capsys):
    (tmp_path / "blocked").write_text("a file")
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "blocked"))
    with mlops.start_run("e") as run:
        run.log({"a": 1})
        run.log_artifact(b"x", path="x")
    err = capsys.readouterr().err
    assert err.count("cannot write") == 1 and "cannot write" in err


def test_a_cell_run_again_ends_the_earlier_run_as_done(events):
    first = mlops.start_run("e")
    second = mlops.start_run("e")
    assert first.ended and mlops.active_run() is second and events(first.id).ends == [("done", None, "")]
    assert events(second.id).start.run.parent is None


def test_a_run_inside_a_block_is_a_child(events):
    with mlops.start_run("sweep") as outer:
        for _ in range(2):
            inner = mlops.start_run("trial")
            assert mlops.active_run() is inner
            inner.log({"a": 1})
        inner.end()
        assert mlops.active_run() is outer and not outer.ended
    assert events(inner.id).start.run.parent == outer.id and events(outer.id).start.run.parent is None
    assert events(outer.id).ends == [("done", None, "")]


def test_threads_have_their_own_active_run_and_share_the_main_one(events):
    main = mlops.start_run("main")
    seen = {}

    def work(number: int) -> None:
        seen[number, "before"] = mlops.active_run()
        with mlops.start_run(f"thread{number}") as run:
            barrier.wait(20)
            seen[number, "inside"] = mlops.active_run() is run
            mlops.log({"n": number}, step=0)
            barrier.wait(20)

    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(seen[number, "inside"] for number in range(3)) and main in [
        seen[number, "before"] for number in range(3)
    ]
    assert mlops.active_run() is main and not main.ended
    owners = [one.name for one in home().spool.iterdir()]
    logged = {events(owner).start.run.experiment: events(owner).points for owner in owners}
    assert logged == {"main": [], **{f"thread{number}": [("n", 0, float(number))] for number in range(3)}}


def test_a_job_says_which_run_it_is(events, monkeypatch):
    given = uuid7()
    monkeypatch.setenv("MLOPS_RUN_ID", given)
    monkeypatch.setenv("MLOPS_JOB_ID", "job-1")
    monkeypatch.setenv("MLOPS_ATTEMPT", "2")
    with mlops.start_run() as run:
        pass
    second = mlops.start_run("more")
    second.end()
    found = events(given)
    assert run.id == given and found.start.owner == given and found.start.run.experiment == ""
    assert found.start.run.tags == {"mlops.job": "job-1", "mlops.attempt": "2"} and found.ends == [("done", None, "")]
    assert second.id != given and events(second.id).start.run.parent == given


def test_the_other_ranks_of_a_job_write_but_neither_begin_nor_end(events, monkeypatch, capsys):
    monkeypatch.setenv("MLOPS_RUN_ID", uuid7())
    monkeypatch.setenv("RANK", "1")
    with mlops.start_run("e") as run:
        run.log({"a": 1}, step=1)
    assert events(run.id).records == [] and events(run.id).points == [("a", 1, 1.0)] and capsys.readouterr().err == ""


@pytest.mark.parametrize("given", ["../../etc", "nonsense", "x" * 300])
def test_a_run_id_that_is_none_is_not_joined(monkeypatch, capsys, given):
    monkeypatch.setenv("MLOPS_RUN_ID", given)
    with mlops.start_run("e") as run:
        assert run.id != given and len(run.id) == 36
    assert "no run id" in capsys.readouterr().err


def test_a_run_is_resumed_by_its_id_or_its_end(events, capsys):
    with mlops.start_run("e", tags={"a": 1}) as first:
        first.log({"a": 1}, step=1)
    for typed in (first.id, short(first.id), first.link, f"  {first.id.upper()} "):
        with mlops.start_run(resume=typed) as again:
            again.log({"a": 2}, step=2)
        assert again.id == first.id
    found = events(first.id)
    assert found.files == 5 and len(found.of("Start")) == 5 and found.of("Start")[-1].run.experiment == ""
    with mlops.start_run(resume="ffffffff") as other:
        assert other.id != first.id and "no run here" in capsys.readouterr().err


def test_a_run_that_is_resumed_where_the_clock_is_behind_goes_on_after_its_last_word(events, monkeypatch):
    with mlops.start_run("e") as first:
        first.log({"a": 1}, step=3)
    monkeypatch.setattr(writer, "now_us", lambda: time.time_ns() // 1000 - 3_600_000_000)
    monkeypatch.setattr(writer, "time_ns", lambda: time.time_ns() - 3_600_000_000_000)
    with mlops.start_run(resume=first.id) as again:
        again.log({"a": 2})
    starts, ends = events(first.id).of("Start"), events(first.id).of("End")
    assert starts[0].t < ends[0].t < starts[1].t <= ends[1].t < starts[0].t + 60_000_000
    assert [step for _, step, _ in events(first.id).points] == [3, 4]


def test_a_resumed_run_counts_on(events, monkeypatch):
    with mlops.start_run("e") as first:
        for loss in (3.0, 2.0):
            first.log({"loss": loss})
    with mlops.start_run(run_id=first.id, resume=True) as again:
        assert again.id == first.id and again.next_step == 2
        again.log({"loss": 1.0})
    assert events(first.id).points == [("loss", 0, 3.0), ("loss", 1, 2.0), ("loss", 2, 1.0)]
    monkeypatch.setenv("MLOPS_EXPERIMENT", "from outside")
    wanted = "01980000-0000-7000-8000-000000000001"
    with mlops.start_run(run_id=wanted) as chosen:
        assert chosen.id == wanted and chosen.next_step == 0
    assert events(wanted).start.run.experiment == "from outside"


def test_a_script_that_died_goes_on_with_its_own_run(script, events, tmp_path):
    code = """
        import os, sys
        run = mlops.start_run("e", name=sys.argv[1], resume=True)
        run.log({"loss": 1.0})
        print(run.id, run.next_step, flush=True)
        if sys.argv[2] == "dies": os.kill(os.getpid(), 9)
        if sys.argv[2] == "fails": raise ValueError
    """
    runs = [script(code, name, how).stdout.split() for name, how in
            (("a", "dies"), ("b", "dies"), ("a", "fails"), ("a", "ends"), ("a", "ends"), ("b", "ends"))]  # fmt: skip
    a, b, again, third, new, other = runs
    assert a[0] == again[0] == third[0] and [a[1], again[1], third[1]] == ["1", "2", "3"]
    assert b[0] != a[0] and other[0] == b[0], "another name is another run"
    assert new[0] not in (a[0], b[0]) and new[1] == "1", "what is done is not gone on with"


def test_whose_child_a_run_is(events):
    outer = mlops.start_run("e")
    with mlops.start_run("e", nested=True) as child:
        assert outer.status == "running"
        with mlops.start_run("e", nested=False) as orphan:
            pass
    assert (outer.status, child.status) == ("done", "done")
    with mlops.start_run("e", parent=f"run:{outer.id}") as told, mlops.start_run("e", parent=child) as given:
        pass
    parents = [events(run.id).start.run.parent for run in (child, orphan, told, given)]
    assert parents == [outer.id, None, outer.id, child.id]


def test_quiet_is_quiet(monkeypatch, capsys):
    monkeypatch.setenv("MLOPS_QUIET", "1")
    mlops.start_run("e").end()
    assert capsys.readouterr().err == ""


def test_the_package_offers_exactly_the_sdk_and_imports_it_lazily():
    assert set(mlops.__all__) == {*sdk.__all__, "__version__"} and all(hasattr(mlops, name) for name in mlops.__all__)
    code = """
import sys, mlops_tui
assert not [name for name in sys.modules if name.startswith("mlops_tui.")], "lazy"
mlops_tui.start_run("e").log({"a": 1})
heavy = {"numpy", "torch", "duckdb", "textual", "msgspec", "starlette", "psutil", "asyncio", "http", "ssl", "pynvml"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_fork_says_what_it_begins_with_and_counts_on(events, capfd):
    with mlops.start_run("e") as first:
        first.log({"loss": 1.0}, step=7)
    with mlops.start_run("e", fork_from=first, step=5) as second:
        assert second.next_step == 6
    with mlops.start_run("e", fork_from=first.id.replace("-", "")) as third:
        assert third.next_step == 8
    told = [events(run.id).start.run for run in (second, third)]
    assert [(one.fork, one.fork_step) for one in told] == [(first.id, 5), (first.id, None)]
    with mlops.start_run("e", fork_from="abc") as empty:
        assert empty.next_step == 0
    assert events(empty.id).start.run.fork == "" and "no whole run id" in capfd.readouterr().err


def test_tasks_have_their_own_active_run_and_share_that_of_the_one_that_made_them(events):
    """Found by two runs of one loop: one had the other's metrics, was its parent, or was ended by its start."""

    async def helper(number: int) -> None:
        mlops.log({"helped": number}, step=0)

    async def work(number: int) -> None:
        run = mlops.start_run(f"task{number}")
        await meeting.wait()
        mlops.log({"n": number}, step=0)
        await asyncio.create_task(helper(number))
        with mlops.start_run(f"block{number}") as block:
            assert mlops.active_run() is block
        run.end()

    async def main() -> None:
        tasks = [asyncio.create_task(work(number)) for number in range(2)]
        await asyncio.sleep(0)
        meeting.set()
        await asyncio.gather(*tasks)
        mlops.log({"main": 1.0}, step=0)

    meeting = asyncio.Event()
    with mlops.start_run("main") as run:
        asyncio.run(main())
    starts = {events(owner.name).start.run.experiment: events(owner.name) for owner in home().spool.iterdir()}
    for number in range(2):
        assert starts[f"task{number}"].points == [("n", 0, float(number)), ("helped", 0, float(number))]
        assert starts[f"task{number}"].start.run.parent == run.id
    assert starts["main"].points == [("main", 0, 1.0)]


def test_a_folder_that_is_gone_from_under_the_script_does_not_hurt(events, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with mlops.start_run("e") as run:
        run.log({"a": 1}, step=0)
    assert events().points == [("a", 0, 1.0)] and events().start.run.git == {}


def test_a_run_may_be_handed_to_a_process_that_is_spawned(script, events):
    """Found by a pool: a run that cannot be pickled is trouble for a training."""
    done = script(
        """
        import multiprocessing

        def work(run, n):
            run.log({"n": n})
            mlops.log({"m": n}, step=n)
            run.end("failed")

        if __name__ == "__main__":
            with mlops.start_run("e") as run:
                run.log({"n": -1})
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    pool.starmap(work, [(run, 5)])
        """,
        MLOPS_SYSTEM_METRICS="0",
    )
    assert done.returncode == 0, done.stderr
    assert events().points == [("n", 0, -1.0), ("n", 1, 5.0), ("m", 5, 5.0)]
    assert events().ends == [("done", None, "")] and len(events().of("Start")) == 1


def test_a_copy_of_a_run_is_the_run_and_one_from_an_old_checkpoint_is_not_active():
    with mlops.start_run("e") as run:
        assert copy.deepcopy({"run": run})["run"] is run
        kept = pickle.dumps(run)
        assert pickle.loads(kept) is run
    with mlops.start_run("e") as run:
        old = pickle.loads(kept)
        assert mlops.active_run() is run and old is not run
    assert mlops.active_run() is old
