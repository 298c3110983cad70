"""Tokens of a deployment's clients: hashes in a file of its folder, read again when it changes.

``tokens.json`` is ``{"tokens": [{"client": …, "sha256": …, "expires": µs UTC or null}]}``. A client may have several at
once, so that the next is handed out before the last is revoked. Where the file lies, somebody is asked for a token,
even when it names none.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import msgspec

from mlops_tui.core.clock import now_us

_log = logging.getLogger("mlops.serving")


class Token(msgspec.Struct, frozen=True):
    """One client's token, by the hash of what it sends; µs UTC."""

    client: str
    sha256: str
    expires: int | None = None


class _File(msgspec.Struct):
    tokens: list[Token]


def hashed(secret: bytes) -> str:
    """Return what is kept of a token. Tokens are random and long: a plain hash cannot be reversed by guessing."""
    return hashlib.sha256(secret).hexdigest()


class Tokens:
    """The tokens that are good now.

    Args:
        path: the file; None: there are none and nobody is asked.
        fixed: a token that the deployment's facts name.
        always: a token is asked for even before there is any.
    """

    def __init__(self, path: Path | None, fixed: str | None = None, always: bool = False) -> None:
        self._path = path
        self._fixed = {hashed(fixed.encode()): Token("", hashed(fixed.encode()))} if fixed else {}
        self._listed: dict[str, Token] = {}
        self._there = always
        self._seen: tuple[int, ...] = ()
        self._next_end: int | None = None
        self.look()

    @property
    def asked(self) -> bool:
        """Tell whether requests need a token."""
        return bool(self._fixed) or self._there

    def holds(self, secret: bytes) -> bool:
        """Tell whether a token is good. Looking a hash up says nothing of how near a guess was."""
        found = self._fixed.get(key := hashed(secret)) or self._listed.get(key)
        return found is not None and (found.expires is None or now_us() < found.expires)

    def look(self) -> bool:
        """Read the file if it changed, and tell whether other tokens are good than at the last look."""
        seen = self._signature()
        if seen == self._seen:
            return self._one_ended()
        self._seen, self._there = seen, bool(seen) or self._there
        if not seen:
            return False  # it is being replaced, or was taken away: whom it let in stays in, nobody else comes
        try:
            assert self._path is not None
            found = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except (OSError, msgspec.DecodeError) as error:
            _log.error("%s: %s; the tokens that were read before stay", self._path, error)
            return False
        self._listed = {token.sha256: token for token in found.tokens}
        self._note_next_end()
        return True

    def _one_ended(self) -> bool:
        if self._next_end is None or now_us() < self._next_end:
            return False
        self._note_next_end()
        return True

    def _note_next_end(self) -> None:
        now = now_us()
        self._next_end = min((t.expires for t in self._listed.values() if t.expires and t.expires > now), default=None)

    def _signature(self) -> tuple[int, ...]:
        if self._path is None:
            return ()
        try:
            found = os.stat(self._path)
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_ino, found.st_size)
