"""The writer: what is in the file, what is not, and that nothing reaches the caller."""

from __future__ import annotations

import errno
import math
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_tui.core.errors import BadInput
from mlops_tui.spool import appender, keeper
from mlops_tui.spool.process import born_us, created_us, this_process
from mlops_tui.spool.reader import read_from
from mlops_tui.spool.records import Artifact, Dataset, End, Heartbeat, Label, Log, Param, Start, Tag
from mlops_tui.spool.text import MAX_LINE
from mlops_tui.spool.writer import Writer


def lines(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def only_file(spool: Path) -> Path:
    (path,) = spool.glob("*/*.jsonl")
    return path


def child(code: str, *args: object, **kwargs) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter; what it prints comes back."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        **kwargs,
    )


def test_every_record_comes_back_as_it_was_written(tmp_path):
    writer = Writer(
        tmp_path, "run-1", run={"experiment": "census", "params": {"lr": 0.1, "a": None}, "tags": {"t": True}}
    )
    assert (
        writer.params({"z": 1, "a": "x"})
        and writer.tags({"stage": "dev"})
        and writer.metrics({"loss": 1, "auc": 0.5}, 7)
    )
    assert writer.log("hello\n", "err") and writer.heartbeat() and writer.artifact("m/model.onnx", Path("/x/y"), 12)
    assert (
        writer.dataset("census@3", "blake3:ab", "training")
        and writer.label("req-1", 2, 1)
        and writer.end("failed", 3, "boom")
    )
    chunk = read_from(only_file(tmp_path))
    assert chunk.bad == []
    assert [type(one) for one in chunk.records] == [Start, Param, Tag, Log, Heartbeat, Artifact, Dataset, Label, End]
    start, param, tag, log, _, artifact, data, label, end = chunk.records
    assert (start.owner, start.kind, start.process.pid) == ("run-1", "run", os.getpid())
    assert start.run.experiment == "census" and list(start.run.params.items()) == [("lr", "0.1"), ("a", "None")]
    assert (
        start.run.tags == {"t": "True"}
        and list(param.p.items()) == [("z", "1"), ("a", "x")]
        and tag.g == {"stage": "dev"}
    )
    assert (log.l, log.o) == ("hello\n", "err") and (artifact.path, artifact.file, artifact.size) == (
        "m/model.onnx",
        "/x/y",
        12,
    )
    assert (data.name, data.digest, data.context) == ("census@3", "blake3:ab", "training")
    assert (label.id, label.row, label.y) == ("req-1", 2, 1.0) and (end.status, end.exit, end.error) == (
        "failed",
        3,
        "boom",
    )
    assert (
        chunk.points.names == ["loss", "auc"]
        and chunk.points.step.tolist() == [7, 7]
        and chunk.points.value.tolist() == [1.0, 0.5]
    )


def test_the_line_of_a_metric_is_the_agreed_format(tmp_path):
    writer = Writer(tmp_path, "r", start=False)
    writer.metrics({"loss": 0.5, "bad": math.nan, "up": math.inf, "down": -math.inf}, 3, ts=17)
    assert only_file(tmp_path).read_bytes() == (
        b'{"v":1,"e":"m","t":17,"s":3,"m":{"loss":0.5},"x":{"bad":"NaN","up":"Infinity","down":"-Infinity"}}\n'
    )


def test_folders_and_files_are_private_and_named_by_host_pid_and_start(tmp_path):
    spool = tmp_path / "home" / "spool"
    Writer(spool, "r")
    path = only_file(spool)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (spool, path.parent)] == [0o700, 0o700]
    host, pid, start = path.stem.rsplit("-", 2)
    assert host and int(pid) == os.getpid() and abs(int(start) / 1e6 - time.time()) < 60


def test_known_names_that_become_non_finite(tmp_path):
    writer = Writer(tmp_path, "r", start=False)
    writer.metrics({"a": 1.0, "b": 1}, 0)
    writer.metrics({"a": math.nan, "b": 2}, 1)
    writer.metrics({"a": math.inf, "b": -math.inf}, 2)
    points = read_from(only_file(tmp_path)).points
    assert points.step.tolist() == [0, 0, 1, 1, 2, 2] and np.isnan(points.value[points.key == 0][1])
    assert sorted(points.value[points.step == 2].tolist()) == [-math.inf, math.inf]


def test_known_names_take_the_fast_way_with_the_same_result(tmp_path):
    writer = Writer(tmp_path, "r", start=False)
    for _ in range(2):  # the first call learns the names
        writer.metrics({"a": 1.5, "null": 2, "n": 3}, 1, ts=5)
    first, second = lines(only_file(tmp_path))
    assert first == second == {"v": 1, "e": "m", "t": 5, "s": 1, "m": {"a": 1.5, "null": 2, "n": 3}}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (True, 1.0),
        (3, 3.0),
        (10**300, 1e300),
        (np.float32(0.5), 0.5),
        (np.int64(4), 4.0),
        (np.array(2.5), 2.5),
        (np.bool_(True), 1.0),
        (np.str_("3"), None),
        ("0.5", None),
        (b"1", None),
        (None, None),
        (10**400, None),
        (1j, None),
        ([1.0], None),
    ],
)
def test_what_counts_as_a_number(tmp_path, capsys, value, kept):
    writer = Writer(tmp_path, "r", start=False)
    for step in (0, 1):  # the second time the name is known
        writer.metrics({"k": 1.0, "v": value}, step)
    found = read_from(only_file(tmp_path)).points
    assert found.value[found.key == 0].tolist() == [1.0, 1.0]
    assert found.value[found.key == 1].tolist() == ([] if kept is None else [kept, kept])
    assert capsys.readouterr().err.count("dropped") == (1 if kept is None else 0)


def test_torch_scalars_are_numbers(tmp_path):
    torch = pytest.importorskip("torch")
    writer = Writer(tmp_path, "r", start=False)
    writer.metrics({"loss": torch.tensor(0.25, requires_grad=True), "n": torch.tensor(3)}, torch.tensor(9))
    writer.params({"lr": torch.tensor(0.5)})
    chunk = read_from(only_file(tmp_path))
    assert chunk.points.value.tolist() == [0.25, 3.0] and chunk.points.step.tolist() == [9, 9]
    assert chunk.records[0].p == {"lr": "0.5"}


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 251, "\ud800", 7, None])
def test_what_is_no_name_is_dropped_and_the_rest_kept(tmp_path, capsys, name):
    writer = Writer(tmp_path, "r", start=False)
    writer.metrics({name: 1.0, "good": 2.0}, 0)
    writer.params({name: 1, "good": 2})
    chunk = read_from(only_file(tmp_path))
    assert chunk.points.names == ["good"] and chunk.records[0].p == {"good": "2"}
    assert capsys.readouterr().err.count("mlops:") == 2


@pytest.mark.parametrize("step", [1.5, "3", math.nan, math.inf, 2**63, -(2**63) - 1, object()])
def test_a_step_that_is_no_whole_number_drops_the_record(tmp_path, capsys, step):
    writer = Writer(tmp_path, "r", start=False)
    writer.metrics({"a": 1.0}, 1)
    assert not writer.metrics({"a": 1.0}, step) and not writer.metrics({"new": 1.0}, step)
    assert len(lines(only_file(tmp_path))) == 1 and writer.dropped == 2
    assert capsys.readouterr().err.count("step") == 1


@pytest.mark.parametrize("step", [2**63 - 1, -(2**63), 0, True, 4.0, np.int32(4)])
def test_steps_of_other_types_and_at_the_edges(tmp_path, step):
    writer = Writer(tmp_path, "r", start=False)
    assert writer.metrics({"a": 1.0}, step) and writer.metrics({"a": 1.0}, step)
    assert read_from(only_file(tmp_path)).points.step.tolist() == [int(step)] * 2


def test_without_a_step_the_count_goes_on(tmp_path):
    writer = Writer(tmp_path, "r", start=False)
    for step in (None, None, 10, None, np.float64(20), None):
        writer.metrics({"a": 1.0}, step)
    assert read_from(only_file(tmp_path)).points.step.tolist() == [0, 1, 10, 11, 20, 21]


class Nasty:
    """Fails at everything one can do to it."""

    def __float__(self) -> float:
        raise RuntimeError("no")

    __str__ = __repr__ = __index__ = __float__  # type: ignore[assignment]

    def items(self):
        raise KeyError("no")


def test_nothing_raises_whatever_is_given(tmp_path, capsys):
    writer = Writer(tmp_path, "r", run={"experiment": Nasty(), "params": Nasty(), "tags": {"a": Nasty()}})
    for junk in (Nasty(), None, 5, "text", [1], {"a": Nasty()}, {}):
        writer.metrics(junk)
        writer.metrics({"a": 1.0}, junk)
        writer.params(junk)
        writer.tags(junk)
        writer.log(junk)
        writer.dataset(junk)
        writer.label(junk, junk, junk)
    writer.metrics({"good": 1.0}, 1)
    assert read_from(only_file(tmp_path)).points.names[-1] == "good"
    assert "dropped" in capsys.readouterr().err


def test_texts_that_utf8_cannot_carry_are_mended(tmp_path):
    writer = Writer(tmp_path, "r", run={"command": "python \udce4.py"})
    writer.params({"path": "a\udcff"})
    writer.log("tail \ud800")
    chunk = read_from(only_file(tmp_path))
    assert chunk.bad == []
    assert (
        chunk.records[0].run.command == "python ?.py"
        and chunk.records[1].p == {"path": "a?"}
        and chunk.records[2].l == "tail ?"
    )


def test_an_owner_that_could_leave_the_folder_is_refused(tmp_path):
    for owner in ("../x", "", ".hidden", "a/b", "a" * 129):
        with pytest.raises(BadInput):
            Writer(tmp_path, owner)


def test_after_the_end_nothing_is_written_and_one_word_is_said(tmp_path, capsys):
    writer = Writer(tmp_path, "r")
    writer.end("done")
    before = only_file(tmp_path).read_bytes()
    assert not writer.metrics({"a": 1.0}, 1) and not writer.metrics({"a": 1.0}, 1) and not writer.end("done")
    assert only_file(tmp_path).read_bytes() == before
    assert capsys.readouterr().err.count("ended") == 1


def test_a_record_longer_than_the_limit_is_dropped(tmp_path, capsys):
    writer = Writer(tmp_path, "r", start=False)
    assert not writer.log("x" * MAX_LINE)
    assert writer.log("short") and len(lines(only_file(tmp_path))) == 1
    assert "longer" in capsys.readouterr().err


@settings(max_examples=60, deadline=None)
@given(
    metrics=st.lists(
        st.tuples(
            st.dictionaries(
                st.text("abz/_ é∑null", min_size=1, max_size=9).filter(lambda s: not s.isspace()),
                st.floats() | st.integers(-(2**60), 2**60) | st.booleans(),
                max_size=5,
            ),
            st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=8,
    ),
    params=st.dictionaries(st.text("ab.é", min_size=1, max_size=9), st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_round_trip(tmp_path_factory, metrics, params):
    spool = tmp_path_factory.mktemp("spool")
    writer = Writer(spool, "r", start=False)
    for values, step in metrics:
        assert writer.metrics(values, step) == bool(values)
    writer.params(params)
    writer.close()
    chunk = read_from(only_file(spool))
    points = chunk.points
    found = sorted(
        (int(s), points.names[k], float(v))
        for k, s, v in zip(points.key, points.step, points.value, strict=True)
        if v == v
    )
    assert found == sorted((step, key, float(v)) for values, step in metrics for key, v in values.items() if v == v)
    assert int(np.isnan(points.value).sum()) == sum(v != v for values, _ in metrics for v in values.values())
    assert [list(one.p.items()) for one in chunk.records] == ([list(params.items())] if params else [])
    assert not chunk.bad


def test_eight_threads_lose_nothing_and_tear_nothing(tmp_path):
    writer = Writer(tmp_path, "r", start=False)

    def work(number: int) -> None:
        for step in range(2_000):
            writer.metrics({f"t{number}": float(step), "x": 1.0}, step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    chunk = read_from(only_file(tmp_path))
    assert chunk.bad == [] and len(chunk.points.value) == 32_000 and writer.dropped == 0
    for number in range(8):
        mine = chunk.points.key == chunk.points.names.index(f"t{number}")
        assert chunk.points.value[mine].tolist() == [float(step) for step in range(2_000)]


def test_kill_9_loses_nothing_that_log_returned_for(tmp_path):
    code = """
        import os, sys
        from pathlib import Path
        from mlops_tui.spool.writer import Writer
        writer = Writer(Path(sys.argv[1]), "r")
        step = 0
        while True:
            writer.metrics({"loss": float(step), "auc": 1.0}, step)
            os.write(1, b"%d\\n" % step)
            step += 1
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE)
    head = process.stdout.read(40_000)
    process.send_signal(signal.SIGKILL)
    returned = (head + process.stdout.read()).splitlines(keepends=True)
    process.wait(10)
    last = int([line for line in returned if line.endswith(b"\n")][-1])
    chunk = read_from(only_file(tmp_path))
    steps = chunk.points.step[chunk.points.key == 0].tolist()
    assert last > 1_000 and steps[: last + 1] == list(range(last + 1)) and len(steps) <= last + 2 and not chunk.bad


def test_a_full_disk_tears_one_line_alone_and_work_goes_on(tmp_path):
    code = """
        import resource, sys
        from pathlib import Path
        from mlops_tui.spool.writer import Writer
        writer = Writer(Path(sys.argv[1]), "r", start=False)
        step = 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        results = []
        for step in range(30):
            if step == 25:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            results.append(writer.metrics({"loss": 1.0, "step": float(step)}, step))
        print(writer.dropped, "".join("01"[r] for r in results))
    """
    done = child(code, tmp_path)
    dropped, results = done.stdout.split()
    path = only_file(tmp_path)
    chunk = read_from(path)
    assert (
        done.returncode == 0
        and results.startswith("111")
        and results.endswith("011111")
        and int(dropped) == results.count("0")
    )
    assert chunk.points.step[chunk.points.key == 0].tolist() == [i for i, ok in enumerate(results) if ok == "1"]
    assert len(chunk.bad) == 1 and path.read_bytes()[:1000].rpartition(b"\n")[2].decode() == chunk.bad[0].line
    assert done.stderr.count("mlops:") == 1 and "File too large" in done.stderr


def test_the_rest_of_a_short_write_is_written_at_once(tmp_path, monkeypatch):
    writer = Writer(tmp_path, "r", start=False)
    real = os.write
    monkeypatch.setattr(appender, "_write", lambda fd, line: real(fd, line[:5]))
    assert writer.metrics({"a": 1.0}, 1) and writer.metrics({"a": 2.0}, 2)
    chunk = read_from(only_file(tmp_path))
    assert chunk.points.step.tolist() == [1, 2] and not chunk.bad and writer.dropped == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_an_error_in_the_middle_of_the_first_line_keeps_the_start_first(tmp_path, monkeypatch, capsys, number):
    real, left = os.write, [40]

    def small_disk(fd: int, line: bytes) -> int:
        if not left[0]:
            raise OSError(number, os.strerror(number))
        written = real(fd, line[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(appender, "_write", small_disk)
    writer = Writer(tmp_path, "r")
    assert not writer.metrics({"a": 1.0}, 1)
    left[0] = 10**9
    assert writer.metrics({"a": 2.0}, 2)
    chunk = read_from(only_file(tmp_path))
    assert [type(one) for one in chunk.records] == [Start] and chunk.points.step.tolist() == [2] and len(chunk.bad) == 1
    assert capsys.readouterr().err.count(os.strerror(number)) == 1


def test_a_home_that_cannot_be_written_is_said_once_and_tried_again(tmp_path, monkeypatch, capsys):
    spool = tmp_path / "spool"
    spool.write_text("in the way")
    writer = Writer(spool, "r", run={"experiment": "e"})
    assert not writer.metrics({"a": 1.0}, 1) and writer.path is None
    spool.unlink()
    assert not writer.metrics({"a": 1.0}, 2), "not tried at every call"
    monkeypatch.setattr(appender, "RETRY_S", 0)
    writer._file._retry_at = 0
    assert writer.metrics({"a": 1.0}, 3)
    chunk = read_from(only_file(spool))
    assert chunk.records[0].run.experiment == "e" and chunk.points.step.tolist() == [3]
    assert capsys.readouterr().err.count("cannot write") == 1


def test_after_somebody_closed_the_descriptor_all_goes_on_in_a_new_file(tmp_path, capsys):
    writer = Writer(tmp_path, "r")
    os.close(writer._file._fd)
    assert writer.metrics({"a": 1.0}, 1) and writer.metrics({"a": 1.0}, 2)
    first, second = sorted(tmp_path.glob("*/*.jsonl"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
    assert len(read_from(first).records) == 1 and read_from(second).points.step.tolist() == [1, 2]
    assert writer.dropped == 0 and not capsys.readouterr().err


def test_a_forked_child_has_its_own_file_and_cannot_end_the_run(tmp_path):
    writer = Writer(tmp_path, "r", heartbeat=True)
    writer.metrics({"a": 1.0}, 1)
    mine, descriptor = writer.path, writer._file._fd
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with pytest.raises(OSError):
                os.fstat(descriptor)
            assert writer.path is None
            writer.tick()
            writer.metrics({"a": 2.0}, 2)
            assert [one.name for one in threading.enumerate() if one is not threading.current_thread()] == [
                "mlops-spool"
            ]
            writer.end("failed")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    writer.metrics({"a": 3.0}, 3)
    writer.end("done")
    assert [one["e"] for one in lines(mine)] == ["start", "m", "m", "end"]
    (theirs,) = set(mine.parent.glob("*.jsonl")) - {mine}
    assert f"-{pid}-" in theirs.name and [(one["e"], one.get("s")) for one in lines(theirs)] == [("m", 2)]


def test_fork_while_other_threads_write(tmp_path):
    writer = Writer(tmp_path, "r", start=False)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            writer.metrics({"a": 1.0}, 1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    [thread.start() for thread in threads]
    pids = []
    for number in range(10):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # a deadlock would end here
            os._exit(0 if writer.metrics({"child": 1.0}, number) else 1)
        pids.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    stop.set()
    [thread.join() for thread in threads]
    assert codes == [0] * 10
    chunks = [read_from(path) for path in tmp_path.glob("r/*.jsonl")]
    assert len(chunks) == 11 and not any(chunk.bad for chunk in chunks)
    assert sum((chunk.points.names == ["child"]) and len(chunk.points.value) == 1 for chunk in chunks) == 10


def test_fork_while_another_thread_starts_the_keeper(tmp_path):
    writer = Writer(tmp_path, "r", start=False)
    with keeper._lock:  # as that thread would hold it
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)
            os._exit(0 if writer.metrics({"a": 1.0}, 1) else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_keeper_syncs_and_beats_and_lets_ended_writers_go(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(appender, "_sync", synced.append)
    writer = Writer(tmp_path, "r", heartbeat=True)
    assert len(synced) == 1, "the start is on disk"
    writer.metrics({"a": 1.0}, 1)
    assert len(synced) == 1, "a metric does not wait for the disk"
    writer.params({"p": 1})
    assert len(synced) == 2
    assert writer in keeper._living()
    writer.tick()
    assert len(synced) == 3 and lines(writer.path)[-1]["e"] == "hb"
    quiet = Writer(tmp_path, "q")
    before = len(synced)
    quiet.tick()
    assert len(synced) == before, "nothing new, nothing to sync"
    path = writer.path
    writer.end("done")
    assert writer not in keeper._living() and len(synced) == before + 1 and lines(path)[-1]["e"] == "end"


def test_the_keeper_runs_by_itself(tmp_path):
    code = """
        import sys, time
        from pathlib import Path
        from mlops_tui.spool import keeper
        keeper.INTERVAL_S = 0.05
        from mlops_tui.spool.writer import Writer
        writer = Writer(Path(sys.argv[1]), "r", heartbeat=True)
        time.sleep(0.5)
    """
    done = child(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(isinstance(one, Heartbeat) for one in read_from(only_file(tmp_path)).records) >= 3


def test_the_number_of_lost_records_is_told_at_the_end(tmp_path):
    writer = Writer(tmp_path, "r")
    writer.metrics("junk")
    writer.end("done")
    assert read_from(only_file(tmp_path)).records[1].g == {"mlops.dropped_records": "1"}


def test_the_writer_imports_neither_numpy_nor_msgspec_nor_a_network(tmp_path):
    code = """
        import sys
        import mlops_tui.spool.writer
        print([m for m in ("numpy", "msgspec", "socket", "duckdb", "ssl", "psutil") if m in sys.modules])
    """
    done = child(code)
    assert done.stdout.strip() == "[]"


def test_process_identity():
    from mlops_tui.spool.process import is_alive

    me = this_process()
    assert (
        is_alive(me) and not is_alive({**me, "created": me["created"] + 1}) and not is_alive({**me, "boot": "another"})
    )
    assert is_alive({**me, "host": "elsewhere"}) is None
    gone = subprocess.Popen([sys.executable, "-c", "print()"], stdout=subprocess.PIPE)
    there, born = created_us(gone.pid), born_us(gone.pid)
    assert abs(born / 1e6 - time.time()) < 30
    gone.stdout.read()
    deadline = time.monotonic() + 10
    while created_us(gone.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert there and not is_alive({**me, "pid": gone.pid, "created": there}), "a zombie does not live"
    gone.wait()
    assert not is_alive({**me, "pid": gone.pid, "created": there})
