"""The program ``mlops``. What has to be quick is answered before anything else is imported."""

from __future__ import annotations

import os
import sys

OF_THE_TUI = ("--readonly", "--low-bandwidth", "--ascii", "--theme", "--keymap")


def main() -> int:
    """Run one command line and return its exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        from mlops_tui import __version__

        print(f"mlops {__version__}")
        return 0
    try:
        if not arguments and sys.stdin.isatty() and sys.stdout.isatty() and "_MLOPS_COMPLETE" not in os.environ:
            from mlops_tui.cli.calls.handover import to_module

            to_module("mlops_tui.tui")
        from mlops_tui.cli.app import run

        return run(["open", *arguments] if arguments and arguments[0] in OF_THE_TUI else arguments)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
