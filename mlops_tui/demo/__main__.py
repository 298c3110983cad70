"""``python -m mlops_tui.demo``: see :mod:`mlops_tui.demo.show`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the demo and return its exit code; an interrupt at any moment is one line, not a traceback."""
    try:
        from mlops_tui.demo.show import show

        return show()
    except KeyboardInterrupt:
        print("interrupted; the next mlops demo begins afresh", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
