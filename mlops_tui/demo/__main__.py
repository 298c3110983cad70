"""``python -m mlops_tui.demo``: see :mod:`mlops_tui.demo.show`."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> int:
    """Run the demo and return its exit code; an interrupt at any moment is one line, not a traceback."""
    try:
        from mlops_tui.demo.show import show

        code = show()
    except KeyboardInterrupt:
        print("interrupted; the next mlops demo begins afresh", file=sys.stderr)
        code = INTERRUPTED
    if code == INTERRUPTED:
        # An interrupt that passed through exec() makes the interpreter end by the signal, whatever we return.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
