"""The demo as a command: the story on a stage of its own, headless or with the TUI in front of it."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from mlops_tui.client import Client
from mlops_tui.core.errors import ExitCode, MlopsError
from mlops_tui.core.paths import Home, home
from mlops_tui.demo.hand import Hand
from mlops_tui.demo.stage import DRIVER, end_processes, sample_folder, set_stage
from mlops_tui.demo.story import PARTS, Story
from mlops_tui.demo.summary import Summary

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def show() -> int:
    """Run the demo by its command line and return its exit code."""
    args = _options()
    try:
        _needs()
        if args.headless or not sys.stdout.isatty():
            return _headless(args)
        return _with_screens(args)
    except MlopsError as error:
        print(f"{error.what}\n  why: {error.why}\n  do:  {error.fix}" if error.fix else str(error), file=sys.stderr)
        return int(error.exit_code)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mlops demo", description="The whole lifecycle on real data, in about a minute."
    )
    parser.add_argument("--headless", action="store_true", help="tell it in lines instead of screens")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--keep", action="store_true", help="leave agent and server running")
    parser.add_argument("--home", default="", help="where the demo lives; it is cleared first")
    parser.add_argument("--sample", default="", help="folder of the sample data and project")
    parts = ", ".join(PARTS)
    parser.add_argument("--until", default="", choices=["", *PARTS], metavar="PART", help=f"end after: {parts}")
    return parser.parse_args()


def _needs() -> None:
    """Say what is missing before anything is begun.

    Raises:
        MlopsError: the train extra is not installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("torch", "onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise MlopsError(
            f"the demo trains a model and needs {', '.join(missing)}",
            "the core install is lean",
            "pip install 'mlops_tui[train]'",
        )


def _headless(args: argparse.Namespace) -> int:
    for asked in ENDINGS:
        signal.signal(asked, signal.default_int_handler)
    summary, code = Summary(), ExitCode.OK
    try:
        home = _staged(args)
        summary.home = str(home.data)
        code = _tell(args, home, summary)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
        left = "what it started goes on" if args.keep else "what it started is ended"
        print(f"\nthe demo was interrupted; {left}; the next mlops demo begins afresh", file=sys.stderr)
    finally:
        for asked in ENDINGS:
            signal.signal(asked, signal.SIG_IGN)  # clearing up is short and must be whole
        if summary.home and not args.keep:
            end_processes(Path(summary.home))
    summary.ok = summary.ok and code is ExitCode.OK
    _report(args, summary)
    return int(code)


def _staged(args: argparse.Namespace) -> Home:
    """Return the demo's home, made afresh unless whoever started us has done so."""
    return home() if os.environ.pop(DRIVER, "") else set_stage(args.home)


def _tell(args: argparse.Namespace, home: Home, summary: Summary) -> ExitCode:
    began = time.monotonic()
    try:
        with Client(home) as client:
            if client.hello.notice:
                print(f"  {client.hello.notice}", file=sys.stderr)
            Story(Hand(client, sample_folder(args.sample) / "project"), summary).tell(args.until)
    except MlopsError as error:
        print(f"\nthe demo stopped: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        summary.seconds = round(time.monotonic() - began, 1)
    return ExitCode.OK


def _report(args: argparse.Namespace, summary: Summary) -> None:
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(summary), indent=1).decode())
        return
    good = sum(step.outcome == "ok" for step in summary.steps)
    print(f"{good} of {len(summary.steps)} steps ok in {summary.seconds:g} s · its home is {summary.home}")


def _with_screens(args: argparse.Namespace) -> int:
    """Tell the story in the background and show it; both end when the person leaves."""
    where = set_stage(args.home)
    given = [f"--{name}={text}" for name in ("sample", "until") if (text := getattr(args, name))]
    log = where.data / "demo.log"
    with log.open("wb") as sink:
        driver = subprocess.Popen(
            [sys.executable, "-P", "-m", "mlops_tui.demo", "--headless", "--keep", *given],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, DRIVER: "1"},
            start_new_session=True,
        )
    try:
        code = subprocess.call([sys.executable, "-P", "-m", "mlops_tui.tui"])
    finally:
        driver.terminate()
        driver.wait(timeout=10)
        end_processes(where.data)
    print(log.read_text(), file=sys.stderr)
    return code
