"""What the terminal is: its background, whether it is far away. Imports nothing heavy, so that it can ask early."""

from __future__ import annotations

import os
import re
import select
import sys
import threading
import time
from collections.abc import MutableMapping
from typing import Any

_REPLY = re.compile(rb"\x1b\]11;rgb:([0-9a-fA-F]+)/([0-9a-fA-F]+)/([0-9a-fA-F]+)")
_QUERY = b"\x1b]11;?\x1b\\\x1b[c"
"""The background colour, and then the device attributes, which every terminal answers: their answer ends the wait."""


class BackgroundQuery:
    """Asks the terminal for its background while the program is still importing.

    The question goes out at once; the answer is fetched when it is needed, so the round trip costs nothing,
    over ssh neither. What a person types meanwhile would be lost with the answer, hence the short limit.
    """

    LIMIT_S = 0.15

    def __init__(self) -> None:
        self._saved: list[Any] | None = None
        self._asked = 0.0
        if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") in ("dumb", "linux", None):
            return
        try:
            import termios
            import tty

            self._saved = termios.tcgetattr(0)
            tty.setcbreak(0, termios.TCSANOW)
            os.write(1, _QUERY)
            self._asked = time.monotonic()
        except (ImportError, OSError, ValueError):
            self._saved = None

    def answer(self) -> str | None:
        """Return ``dark`` or ``light``, or None when the terminal does not say."""
        if self._saved is None:
            return None
        import termios

        heard = b""
        try:
            while b"\x1b[?" not in heard or not heard.endswith(b"c"):
                left = self._asked + self.LIMIT_S - time.monotonic()
                if not select.select([0], [], [], max(0.0, left))[0]:
                    break
                heard += os.read(0, 256)
        finally:
            termios.tcsetattr(0, termios.TCSANOW, self._saved)
        return background(heard)


def background(reply: bytes) -> str | None:
    """Read a terminal's answer to OSC 11: light when the perceived brightness is over one half (ITU-R BT.601)."""
    found = _REPLY.search(reply)
    if found is None:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return "light" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "dark"


def calm(environ: MutableMapping[str, str], low_bandwidth: bool = False) -> None:
    """Set what Textual reads at its import: no animation ever, 16 colours and fewer frames on a thin line."""
    environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    # Textual paints on a grid of 1/60 s, so a key waits 8 ms on average for nothing; nothing is painted unasked.
    environ.setdefault("TEXTUAL_FPS", "10" if low_bandwidth else "180")
    if low_bandwidth:
        environ.setdefault("TEXTUAL_COLOR_SYSTEM", "standard")


def leave_when_gone() -> None:
    """End the program when its terminal is gone, also where no SIGHUP comes (the terminal does not control us).

    The app itself would never notice: what it reads has no end, and what it writes waits for a thread that has died.
    """

    def wait() -> None:
        gone = select.poll()
        gone.register(0, 0)
        if gone.poll()[0][1] & select.POLLHUP:
            os._exit(129)

    threading.Thread(target=wait, name="terminal-gone", daemon=True).start()
