"""``python -m mlops_tui.tui [LINK]``: the terminal app. What the terminal must tell is asked before the imports."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_tui.core.config import Config
    from mlops_tui.tui.news.door import Door


def main(arguments: list[str] | None = None) -> int:
    """Run the app and return its exit code."""
    from mlops_tui.tui.terminal import ask as terminal

    given = _parser().parse_args(arguments)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("mlops needs a terminal; for a program: mlops top --once --json", file=sys.stderr)
        return 2
    gc.disable()  # what is made until the first paint stays; the app turns it on again
    terminal.calm(os.environ, given.low_bandwidth)
    terminal.leave_when_gone()
    query = terminal.BackgroundQuery()
    try:
        from mlops_tui.core.config import load
        from mlops_tui.core.errors import MlopsError
        from mlops_tui.tui.app import MlopsApp
        from mlops_tui.tui.news.door import LateDoor
    finally:
        background = query.answer()
    flags = {key: value for key in ("theme", "keymap") if (value := getattr(given, key))}
    try:
        config = load({**flags, **{key: True for key in ("readonly", "ascii") if getattr(given, key)}})
        door = LateDoor(lambda: _client(config))
        app = MlopsApp(door, config, given.link, background, 2.0 if given.low_bandwidth else 1.0)
    except MlopsError as problem:
        print(f"✖ {problem}", file=sys.stderr)
        return int(problem.exit_code)
    app.run()
    return app.return_code or 0


def _client(config: Config) -> Door:
    from mlops_tui.client import AsyncClient

    return AsyncClient(config=config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlops open", description="Open the terminal app.")
    parser.add_argument("link", nargs="?", default="", help="where to begin: runs, run:NAME, model:NAME@ALIAS …")
    parser.add_argument("--readonly", action="store_true", help="without any key that changes something")
    parser.add_argument("--low-bandwidth", action="store_true", help="16 colours, an update every two seconds")
    parser.add_argument("--ascii", action="store_true", help="plain ASCII only: no frames, braille or marks beyond it")
    parser.add_argument("--theme", default="", help="auto, mlops-dark, mlops-light, ansi-dark or ansi-light")
    parser.add_argument("--keymap", default="", help="default, vim or emacs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
