"""What a program prints is kept line by line, and goes where it went, whatever happens."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading

import pytest

import mlops_tui as mlops
from mlops_tui.core.ids import uuid7
from mlops_tui.sdk import console


@pytest.fixture
def streams(monkeypatch):
    """A function that puts streams of our own in the place of sys.stdout and sys.stderr, and returns them."""
    monkeypatch.setattr(console, "_console", console._Console())

    def take():
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        return out, err

    return take


def lines(events, owner=None):
    return [(record.o, record.l) for record in events(owner).of("Log")]


def test_lines_go_to_the_run_and_on_to_where_they_went(streams, events):
    out, err = streams()
    with mlops.start_run("e"):
        print("one", "two")
        sys.stderr.write("half ")
        sys.stderr.writelines(["a line\n", "and"])
        print("unfinished", end="")
    print("not the run's")
    assert out.getvalue() == "one two\nunfinishednot the run's\n" and err.getvalue().endswith("half a line\nand")
    told = [line for line in lines(events) if "mlops open" not in line[1]]
    assert told == [("out", "one two"), ("err", "half a line"), ("out", "unfinished"), ("err", "and")]
    assert (sys.stdout, sys.stderr) == (out, err)


def test_a_progress_bar_is_kept_as_it_stood_when_its_line_ended(streams, events):
    streams()
    with mlops.start_run("e"):
        for share in (10, 50, 100):
            sys.stdout.write(f"\r{share} %")
        sys.stdout.write("\ndone\r\nbar 1\r")
        sys.stdout.write("bar 2\r")
    assert [text for stream, text in lines(events) if stream == "out"] == ["100 %", "done", "bar 2"]


def test_somebody_elses_stream_stays_in_its_place(streams, events):
    streams()
    with mlops.start_run("e"):
        with contextlib.redirect_stdout(io.StringIO()) as taken:
            print("elsewhere")
        mine = sys.stdout = io.StringIO()
        print("mine")
    assert sys.stdout is mine and mine.getvalue() == "mine\n" and taken.getvalue() == "elsewhere\n"
    assert ("out", "mine") not in lines(events)


def test_what_is_logged_by_a_handler_made_before_the_run_is_kept(streams, events):
    _, err = streams()
    log, file = logging.getLogger("training"), io.StringIO()
    handlers = logging.StreamHandler(err), logging.StreamHandler(file)
    try:
        for handler in handlers:
            log.addHandler(handler)
        with mlops.start_run("e"):
            log.warning("slow")
        log.warning("after it")
    finally:
        for handler in handlers:
            log.removeHandler(handler)
    assert [text for stream, text in lines(events) if stream == "err"][-1] == "slow"
    assert err.getvalue().endswith("slow\nafter it\n") and file.getvalue() == "slow\nafter it\n"
    assert handlers[0].stream is err


def test_the_stream_is_still_what_it_was(streams):
    streams()
    with mlops.start_run("e"):
        assert sys.stdout.getvalue() == "" and not sys.stdout.isatty()
        with pytest.raises(TypeError):
            sys.stdout.write(b"bytes")
        with pytest.raises(AttributeError):
            _ = sys.stdout.nothing


def test_a_run_that_cannot_write_does_not_stop_the_printing(streams, monkeypatch):
    out, _ = streams()
    with mlops.start_run("e") as run:
        monkeypatch.setattr(type(run), "printed", lambda *_: 1 / 0)
        print("all the same")
    assert out.getvalue() == "all the same\n"


def test_a_chatty_program_is_cut_off_once(streams, events, monkeypatch):
    streams()
    monkeypatch.setattr(console, "LIMIT_BYTES", 100)
    with mlops.start_run("e"):
        console._console.kept = 0
        for at in range(50):
            print(f"line {at:04}")
    told = [text for stream, text in lines(events) if stream == "out"]
    assert told == [f"line {at:04}" for at in range(10)]
    assert sum("no longer kept" in text for _, text in lines(events)) == 1


def test_nested_runs_and_threads_have_their_own_lines(streams, events):
    streams()
    with mlops.start_run("e") as outer:
        print("outer")
        with mlops.start_run("e") as inner:
            print("inner")
        print("outer again")

        def work():
            with mlops.start_run("e") as run:
                print("thread")
                mine.append(run.id)

        mine: list[str] = []
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    own = [[text for stream, text in lines(events, run) if stream == "out"] for run in (outer.id, inner.id, mine[0])]
    assert own == [["outer", "outer again"], ["inner"], ["thread"]]


def test_when_it_is_kept(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert console.wanted(None, in_job=False) and not console.wanted(None, in_job=True)
    assert console.wanted(True, in_job=True) and not console.wanted(False, in_job=False)
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    assert not console.wanted(None, in_job=False)
    monkeypatch.setenv("MLOPS_CONSOLE", "1")
    assert console.wanted(None, in_job=True)
    monkeypatch.setenv("MLOPS_CONSOLE", "0")
    assert not console.wanted(None, in_job=False)


def test_a_real_script_keeps_its_console_its_traceback_and_its_forks_words(script, events):
    done = script("""
        import os
        run = mlops.start_run("e")
        print(run.id, flush=True)
        if not (child := os.fork()):
            print("from the child")
            os._exit(0)
        os.waitpid(child, 0)
        raise ValueError("the end of it")
    """)
    run = done.stdout.split()[0]
    told = [text for _, text in lines(events, run)]
    assert run in told and "from the child" in told and "ValueError: the end of it" in told
    assert done.returncode == 1 and "ValueError: the end of it" in done.stderr
    quiet = script("""
        run = mlops.start_run("e")
        print(run.id)
    """, MLOPS_JOB_ID=uuid7(), MLOPS_RUN_ID=uuid7())  # fmt: skip
    assert lines(events, quiet.stdout.strip()) == []
