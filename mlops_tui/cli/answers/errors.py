"""How a failure is told: what · why · fix · code, on stderr; for programs as one JSON object as well."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Sequence

from mlops_tui.core.errors import MlopsError

RED, FAINT, PLAIN = "\x1b[31m", "\x1b[2m", "\x1b[0m"


def report(error: MlopsError, arguments: Sequence[str]) -> None:
    """Write an error to stderr.

    The flags are looked for in the bare arguments: an error may come before they could be read in order.
    """
    from mlops_tui.core.printable import clean

    if "\n" in error.why:  # a text with a caret under the wrong place: lines of their own
        pointed = [f"  {clean(line)}" for line in error.why.split("\n")]
        words = "\n".join([clean(error.what), *pointed, "  " + clean(f"{error.fix} · {error.code}")])
    else:
        words = clean(" · ".join(part for part in (error.what, error.why, error.fix, error.code) if part))
    if _paints(arguments):
        words = f"{RED}✖{PLAIN} " + words.removesuffix(error.code) + FAINT + error.code + PLAIN
    else:
        words = "✖ " + words
    print(words, file=sys.stderr)
    if _wants_json(arguments):
        print(json.dumps({"schema": "error/1", "error": error.record()}), file=sys.stderr)
    sys.stderr.flush()


def _wants_json(arguments: Sequence[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    after_output = {b for a, b in itertools.pairwise(own) if a in ("-o", "--output")}
    named = {"--json", "-ojson", "-ojsonl", "--output=json", "--output=jsonl"} & set(own)
    from_environment = os.environ.get("MLOPS_OUTPUT") in ("json", "jsonl") and not after_output
    return bool(named or after_output & {"json", "jsonl"} or from_environment)


def _paints(arguments: Sequence[str]) -> bool:
    if "never" in arguments or "--color=never" in arguments or os.environ.get("NO_COLOR"):
        return False
    forced = "--color=always" in arguments or "always" in arguments or os.environ.get("FORCE_COLOR")
    return bool(forced) or (sys.stderr.isatty() and os.environ.get("TERM") != "dumb")
