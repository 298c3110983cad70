"""How a run ends when nobody says so, in real processes."""

from __future__ import annotations

import os
import signal
import time

import pytest

from mlops_tui.core.paths import home
from mlops_tui.spool.files import scan


@pytest.mark.parametrize(
    ("body", "code", "end"),
    [
        ("pass", 0, ("done", 0)),
        ("sys.exit()", 0, ("done", 0)),
        ("sys.exit(3)", 3, ("failed", 3, "exit 3")),
        ("exit(3)", 3, ("failed", 3, "exit 3")),
        ("sys.exit('no data')", 1, ("failed", 1, "no data")),
        ("sys.exit(mlops.PREEMPTED)", 75, ("killed", 75, "preempted")),
        ("raise ValueError('bad lr')", 1, ("failed", 1, "ValueError: bad lr")),
        ("raise KeyboardInterrupt", -2, ("killed", 130, "KeyboardInterrupt")),
    ],
)
@pytest.mark.parametrize("block", [True, False])
def test_the_end_of_a_script(script, events, body, code, end, block):
    done = script(
        f"import sys\nwith mlops.start_run('e'): {body}" if block else f"import sys\nrun = mlops.start_run('e')\n{body}"
    )
    assert done.returncode == code, done.stderr
    (found,) = events().ends
    if body == "pass" or (block and "ValueError" in body):
        assert found == (end[0], None, *(end[2:] or [""])) or found == (end[0], end[1], *end[2:])
    else:
        assert found[: len(end)] == end
    assert "train.py" in done.stderr if "raise" in body else "Traceback" not in done.stderr


def test_a_swallowed_exception_in_a_block_fails_the_run_only(script, events):
    done = script(
        """
        try:
            with mlops.start_run("e"):
                raise RuntimeError
        except RuntimeError:
            pass
        """
    )
    assert done.returncode == 0 and events().ends == [("failed", None, "RuntimeError")]


def ready(process) -> None:
    assert process.stdout.readline() == "ready\n", process.stderr.read()


LOOP = """
import time
with mlops.start_run("e") as run:
    print("ready", flush=True)
    while not run.should_stop:
        time.sleep(0.01)
    run.log({"stopped": 1}, step=7)
    mlops.save_checkpoint(b"state")
    raise SystemExit(mlops.PREEMPTED)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_kills_and_is_noted(script, events, number):
    # Whoever runs the tests under nohup hands the ignored signal down to every child.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process = script(LOOP, wait=False)
    ready(process)
    process.send_signal(number)
    assert process.wait(20) == -number, "the exit status tells the truth"
    assert events().ends == [("killed", 128 + number, number.name)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_with_a_grace_period_a_signal_asks(script, events, tmp_path, number):
    process = script(LOOP, wait=False, MLOPS_GRACE_S="20", MLOPS_CKPT_DIR=str(tmp_path / "ckpt"))
    ready(process)
    process.send_signal(number)
    assert process.wait(20) == 75
    assert events().ends == [("killed", 75, "preempted")] and events().points == [("stopped", 7, 1.0)]
    assert (tmp_path / "ckpt" / "last.ckpt").read_bytes() == b"state"


def test_a_handler_of_the_script_is_kept(script, events):
    process = script(
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        with mlops.start_run("e"):
            print("ready", flush=True)
            time.sleep(20)
        """,
        wait=False,
    )
    ready(process)
    process.terminate()
    assert process.wait(20) == 9 and events().ends == [("failed", 9, "exit 9")]


def test_everything_is_put_back_after_the_run(script):
    done = script(
        """
        import signal, sys
        before = [signal.getsignal(signal.SIGTERM), sys.exit, sys.excepthook]
        with mlops.start_run("e"):
            assert [signal.getsignal(signal.SIGTERM), sys.exit, sys.excepthook] != before
            with mlops.start_run("inner"):
                pass
            assert sys.exit is not before[1]
        assert [signal.getsignal(signal.SIGTERM), sys.exit, sys.excepthook] == before
        """
    )
    assert done.returncode == 0, done.stderr


def test_started_in_a_thread(script, events):
    done = script(
        """
        import threading
        def work():
            mlops.start_run("e").log({"a": 1}, step=1)
        thread = threading.Thread(target=work)
        thread.start(); thread.join()
        """
    )
    assert done.returncode == 0 and events().ends == [("done", None, "")] and events().points == [("a", 1, 1.0)], (
        done.stderr
    )


def test_forked_children_write_to_the_run_and_cannot_end_it(script, events):
    done = script(
        """
        import os, sys
        with mlops.start_run("e") as run:
            run.log({"parent": 1}, step=0)
            for child in range(3):
                pid = os.fork()
                if pid == 0:
                    run.log({"child": child}, step=child)
                    if child == 0: run.end("failed")
                    if child == 1: sys.exit(5)
                    raise RuntimeError("in a child")
                os.waitpid(pid, 0)
            run.log({"parent": 1}, step=1)
        """
    )
    found = events()
    assert (
        done.returncode == 0 and found.files == 4 and len(found.of("Start")) == 1 and found.ends == [("done", None, "")]
    )
    assert sorted(found.points) == [("child", n, float(n)) for n in range(3)] + [("parent", 0, 1.0), ("parent", 1, 1.0)]


def test_a_pool_of_forked_workers_can_be_terminated(script, events):
    done = script(
        """
        import multiprocessing
        def work(number):
            mlops.log({"square": number * number}, step=number)
            return number
        with mlops.start_run("e") as run:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(work, range(20)) == list(range(20))
            run.log({"after": 1})
        """,
        MLOPS_GRACE_S="20",
    )
    found = events()
    assert done.returncode == 0 and found.ends == [("done", None, "")], done.stderr
    assert sorted(found.points)[1:] == sorted([("square", n, float(n * n)) for n in range(20)])


def test_a_child_that_is_asked_to_end_in_the_moment_of_its_fork_ends(script):
    done = script(
        """
        import os, signal
        with mlops.start_run("e"):
            for _ in range(300):
                child = os.fork()
                if not child:
                    signal.alarm(20)
                    signal.pause()
                    os._exit(0)
                os.kill(child, signal.SIGTERM)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        """,
        MLOPS_GRACE_S="20",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("grace", ["", "20"])
def test_a_forked_child_has_the_signals_as_they_were(script, grace):
    done = script(
        """
        import os, signal
        own = lambda *_: None
        signal.signal(signal.SIGUSR1, own)
        with mlops.start_run("e"):
            if not (child := os.fork()):
                kept = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and signal.getsignal(signal.SIGUSR1) is own
                os._exit(7 if kept else 8)
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        MLOPS_GRACE_S=grace,
    )
    assert done.stdout == "7\n", done.stderr


def test_a_child_may_start_a_run_of_its_own(script, events):
    done = script(
        """
        import os, signal, time
        outer = mlops.start_run("outer").__enter__()
        pid = os.fork()
        if pid == 0:
            inner = mlops.start_run("inner")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(20)
        assert os.waitpid(pid, 0)[1] == signal.SIGTERM
        outer.end()
        """
    )
    assert done.returncode == 0, done.stderr
    by_experiment = {
        events(owner).start.run.experiment: events(owner) for owner in {f.owner for f in scan(home().spool)}
    }
    assert by_experiment["inner"].ends == [("killed", 143, "SIGTERM")] and by_experiment["outer"].ends == [
        ("done", None, "")
    ]
    assert by_experiment["inner"].start.run.parent == by_experiment["outer"].start.owner


def test_data_loader_workers(script, events):
    pytest.importorskip("torch")
    done = script(
        """
        from torch.utils.data import DataLoader, Dataset
        class Data(Dataset):
            def __len__(self): return 8
            def __getitem__(self, index):
                mlops.log({"read": index}, step=index)
                return index
        with mlops.start_run("e") as run:
            for batch in DataLoader(Data(), batch_size=2, num_workers=2, multiprocessing_context="fork"):
                run.log({"batch": batch.sum()})
        """
    )
    found = events()
    assert done.returncode == 0 and found.ends == [("done", None, "")] and found.files == 3, done.stderr
    assert sorted(step for name, step, _ in found.points if name == "read") == list(range(8))
    assert sum(name == "batch" for name, _, _ in found.points) == 4 and "torch" in found.start.run.env["seeds"]


def test_kill_9_loses_nothing_that_was_logged(script, events):
    process = script(
        """
        import os
        run = mlops.start_run("e")
        step = 0
        while True:
            run.log({"loss": 0.5}, step=step)
            os.write(1, b"%d\\n" % step)
            step += 1
        """,
        wait=False,
    )
    head = os.read(process.stdout.fileno(), 20_000)
    time.sleep(0.2)
    process.kill()
    said = (head + os.read(process.stdout.fileno(), 1 << 20)).split(b"\n")[:-1]
    process.wait(20)
    steps = [step for _, step, _ in events().points]
    assert int(said[-1]) > 500 and steps[: int(said[-1]) + 1] == list(range(int(said[-1]) + 1)) and events().ends == []


def test_a_script_that_ends_at_once_still_has_all_its_facts(script, events):
    done = script("mlops.start_run('e')")
    assert done.returncode == 0 and "env.packages" in events().tags and events().ends == [("done", None, "")]
