"""``python -m mlops_tui.demo``: see :mod:`mlops_tui.demo.show`."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130


def main() -> int:
    """Run the demo and return its exit code; an interrupt at any moment is one line, not a traceback."""
    # An interrupt waits until everything is imported: in the middle of it, extension modules crash.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        from mlops_tui.demo.show import show

        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
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
