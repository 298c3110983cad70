"""``python -m mlops_tui.demo``: the story on a stage of its own, headless or with the TUI in front of it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from mlops_tui.client import Client
from mlops_tui.core.errors import ExitCode, MlopsError
from mlops_tui.demo.hand import Hand
from mlops_tui.demo.stage import end_processes, sample_folder, set_stage
from mlops_tui.demo.story import Story
from mlops_tui.demo.summary import Summary

DRIVER = "MLOPS_DEMO_DRIVER"


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="mlops demo", description="The whole lifecycle on real data, in about a minute."
    )
    parser.add_argument("--headless", action="store_true", help="tell it in lines instead of screens")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--keep", action="store_true", help="leave agent and server running")
    parser.add_argument("--home", default="", help="where the demo lives; it is cleared first")
    parser.add_argument("--sample", default="", help="folder of the sample data and project")
    args = parser.parse_args()
    try:
        _needs()
        if args.headless or not sys.stdout.isatty():
            return _headless(args)
        return _with_screens(args)
    except MlopsError as error:
        print(f"{error.what}\n  why: {error.why}\n  do:  {error.fix}" if error.fix else str(error), file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted; the next mlops demo begins afresh", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)


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
    os.environ[DRIVER] = "1"
    home = set_stage(args.home) if "MLOPS_DEMO_STAGED" not in os.environ else None
    del os.environ[DRIVER]
    folder = Path(os.environ["MLOPS_HOME"])
    summary = Summary(home=str(folder))
    began = time.monotonic()
    code = ExitCode.OK
    try:
        with Client(home) as client:
            if client.hello.notice:
                print(f"  {client.hello.notice}", file=sys.stderr)
            Story(Hand(client, sample_folder(args.sample) / "project"), summary).tell()
    except MlopsError as error:
        code = error.exit_code
        print(f"\nthe demo stopped: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    finally:
        summary.seconds = round(time.monotonic() - began, 1)
        summary.ok = summary.ok and code is ExitCode.OK
        if not args.keep:
            end_processes(folder)
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(summary), indent=1).decode())
    else:
        good = sum(step.outcome == "ok" for step in summary.steps)
        print(f"{good} of {len(summary.steps)} steps ok in {summary.seconds:g} s · its home is {folder}")
    return int(code)


def _with_screens(args: argparse.Namespace) -> int:
    """Tell the story in the background and show it; both end when the person leaves."""
    home = set_stage(args.home)
    log = home.data / "demo.log"
    with log.open("wb") as sink:
        driver = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mlops_tui.demo",
                "--headless",
                "--keep",
                *(["--sample", args.sample] if args.sample else []),
            ],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, "MLOPS_DEMO_STAGED": "1", DRIVER: "1"},
            start_new_session=True,
        )
    try:
        code = subprocess.call([sys.executable, "-m", "mlops_tui.tui"])
    finally:
        driver.terminate()
        driver.wait(timeout=10)
        end_processes(home.data)
    print(log.read_text(), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
