"""What keeps a client at a revision: a header, a field of the request, or the request's own id.

As routes, splits and rollout files say it in a word: a header's name; ``field:NAME``; ``id``. A field is looked for in

1. the request's own ``parameters`` (Open Inference Protocol) or ``params`` (MLflow),
2. its input tensor or column of that name, also one that the model does not take where the protocol lets it pass,
3. the feature of that name, where the model names its features.

A request goes to one revision as a whole, so of several rows **the first one's value** decides for all of them: a
rollout must not refuse what was answered before it. Clients that mix keys in a request do not stick.
A request without a key is drawn by weight, each time anew.

In the inference log a client is a number: BLAKE2b of its key under a secret of the deployment (``clients.key`` in its
folder, 32 random bytes). Who has the log but not the secret can neither find the key nor try out keys that he guesses,
and the same client has other numbers elsewhere.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import msgspec

from mlops_tui.serving.bodies import LENGTH
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.record.segments import NOBODY

STICKY_ID = ("id", "request-id", "x-request-id")
FIELD = "field:"
SALT = "clients.key"
KEYLESS = 0
"""The client of a request that has no key."""
_SALT_BYTES = 32


class Asked(Protocol):
    """A request that a protocol has read."""

    id: str | None

    def first(self, name: str, model: Model) -> Any:
        """Return the first value of an input, column or feature; None when there is none of that name."""


class Sticky:
    """How requests stick.

    Args:
        said: a header's name, ``field:NAME`` or ``id``; None: they do not.
        salt: the deployment's secret; without one nobody asks whose a request is.
    """

    def __init__(self, said: str | None, salt: bytes = b"") -> None:
        self.by_id = by_id(said)
        self.field = said[len(FIELD) :] if said and said.startswith(FIELD) else ""
        self._header = b"" if self.by_id or self.field or not said else said.lower().encode("latin-1", "replace")
        self._salt = salt

    @property
    def by_client(self) -> bool:
        """Tell whether requests of one client are kept together."""
        return bool(self.field or self._header)

    def key(self, headers: Mapping[bytes, bytes], body: bytes, call: Asked, model: Model) -> bytes | None:
        """Return what a request sticks by; None without any."""
        if self._header:
            return headers.get(self._header) or None
        if self.by_id:
            return call.id.encode() if call.id else None
        if not self.field:
            return None
        said = parameters(headers, body).get(self.field)
        return text_of(call.first(self.field, model) if said is None else said)

    def client(self, key: bytes | None) -> int:
        """Return the number of a key in the log."""
        if not (self._salt and self.by_client):
            return NOBODY
        if not key:
            return KEYLESS
        return (int.from_bytes(blake2b(key, digest_size=8, key=self._salt).digest(), "little") >> 1) or 1


def by_id(said: str | None) -> bool:
    """Tell whether requests stick by their own ids, so that each is a client of its own."""
    return said is not None and said.lower() in STICKY_ID


def text_of(value: Any) -> bytes | None:
    """Return a value as a key: a number is the same whichever protocol and datatype it came by; None without any."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or value != value or isinstance(value, (dict, list)):  # NaN is nobody's key
        return None
    return (value if isinstance(value, bytes) else str(value).encode()) or None


class _Extras(msgspec.Struct):
    parameters: dict[str, Any] | None = None
    params: dict[str, Any] | None = None


_extras = msgspec.json.Decoder(_Extras)


def parameters(headers: Mapping[bytes, bytes], body: bytes) -> dict[str, Any]:
    """Return what a body says beside its tensors: ``parameters``, or ``params`` of MLflow."""
    length = headers.get(LENGTH, b"")
    try:
        found = _extras.decode(body[: int(length)] if length.isdigit() else body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found.parameters or found.params or {}


def salt_of(folder: Path) -> bytes:
    """Return the secret of a deployment, made by whoever asks first; all its workers get the same.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / SALT
    with suppress(FileNotFoundError):
        return path.read_bytes()
    mine = path.with_name(f".{SALT}.{secrets.token_hex(4)}")
    fd = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(secrets.token_bytes(_SALT_BYTES))
    with suppress(FileExistsError):
        os.link(mine, path)
    mine.unlink()
    return path.read_bytes()
