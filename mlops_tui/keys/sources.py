"""The places a store's secret may come from. Each knows how to find an old one and whether it can keep a new one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from mlops_tui.core.errors import MlopsError, NotAllowed
from mlops_tui.core.paths import private_dir
from mlops_tui.keys.files import NewFile, told
from mlops_tui.keys.keys import from_text, key_id, new_secret, to_text
from mlops_tui.keys.meta import StoreMeta

KEYRING_SECONDS = 3.0

PluginSource = Callable[[str, str], tuple[str, str] | None]
"""A key source of a plugin: ``(store_id, note) -> (key in base64, note) | None``.

For a new store ``note`` is empty; what it returns is kept in ``store.meta`` (a KMS puts the wrapped key there) and
given back at every later start. None means: not my store, not configured. Its name is ``source.name`` if it has
one, else its ``__name__``.
"""


@dataclass(frozen=True)
class Offer:
    """A secret for a new store, already kept where it will be found again."""

    secret: bytes
    announcement: str
    note: str = ""


class NotUsable(Exception):
    """A source cannot keep the key of a new store; the next one is tried and the reason is told."""


class Source(Protocol):
    """One place of keys."""

    name: str

    def offer(self, store_id: str) -> Offer | None:
        """Return a secret for a new store, or None when the source is not set up here.

        Raises:
            NotUsable: it is set up but does not work.
            NotAllowed: somebody asked for it in a way that must not be ignored.
        """

    def find(self, meta: StoreMeta) -> bytes:
        """Return the secret of an existing store.

        Raises:
            NotAllowed: it is missing or locked; the message says what to do.
        """


class Environment:
    """``MLOPS_STORE_KEY``, for continuous integration only."""

    name = "env"
    variable = "MLOPS_STORE_KEY"

    def offer(self, store_id: str) -> Offer | None:
        """Return a secret for a new store; see :class:`Source`."""
        if not os.environ.get(self.variable):
            return None
        return Offer(
            self._read(),
            f"The store is sealed with the key in {self.variable}: without that key it cannot be opened again.",
        )

    def find(self, meta: StoreMeta) -> bytes:
        """Return the secret of an existing store; see :class:`Source`."""
        if not os.environ.get(self.variable):
            raise NotAllowed(
                "the store's key is missing",
                f"it comes from {self.variable}, which is not set",
                f"set {self.variable} to key {meta.key_id}",
            )
        return self._read()

    def _read(self) -> bytes:
        if os.environ.get("CI", "").lower() in ("", "0", "false") and os.environ.get("MLOPS_ALLOW_ENV_KEY") != "1":
            raise NotAllowed(
                f"{self.variable} is not used outside CI",
                "every child process inherits the environment, and logs and crash reports copy it",
                f"unset {self.variable}; or set MLOPS_ALLOW_ENV_KEY=1 if you accept that",
            )
        return from_text(os.environ[self.variable], self.variable)


class Credentials:
    """``$CREDENTIALS_DIRECTORY/mlops-store-key``, as systemd hands secrets to a service."""

    name = "credentials"
    entry = "mlops-store-key"

    def offer(self, store_id: str) -> Offer | None:
        """Return a secret for a new store; see :class:`Source`."""
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder or not (path := Path(folder, self.entry)).exists():
            return None
        words = f"The store is sealed with the service credential {self.entry}: it opens only where that is given."
        return Offer(self._read(path), words)

    def find(self, meta: StoreMeta) -> bytes:
        """Return the secret of an existing store; see :class:`Source`."""
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise NotAllowed(
                "the store's key is missing",
                "it is a systemd credential, and CREDENTIALS_DIRECTORY is not set",
                f"start the agent from its unit with LoadCredentialEncrypted={self.entry}:…",
            )
        return self._read(Path(folder, self.entry))

    def _read(self, path: Path) -> bytes:
        try:
            return from_text(path.read_text(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise NotAllowed(
                "the store's key cannot be read",
                f"{path}: {error}",
                f"check LoadCredential of {self.entry} in the unit",
            ) from error


class Keyring:
    """The operating system's keyring, asked in a child process with a time limit."""

    name = "keyring"

    def offer(self, store_id: str) -> Offer | None:
        """Return a secret for a new store; see :class:`Source`."""
        if sys.platform.startswith("linux") and not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
            return None
        secret = new_secret()
        answer = self._ask("set", key_id(secret), "", to_text(secret))
        if answer.get("secret") != to_text(secret):
            raise NotUsable(answer.get("why", "it did not give back what was put in"))
        backend = answer["backend"]
        words = (
            f"A new key for this store was put into the OS keyring ({backend}, entry mlops/{key_id(secret)}). "
            "It protects a copied disk or home; the store opens only while the keyring is unlocked."
        )
        return Offer(secret, words, backend)

    def find(self, meta: StoreMeta) -> bytes:
        """Return the secret of an existing store; see :class:`Source`."""
        answer = self._ask("get", meta.key_id, meta.key_note)
        if "secret" not in answer:
            raise NotAllowed(
                "the store's key cannot be read from the OS keyring",
                answer["why"],
                f"unlock the keyring ({meta.key_note}) by logging in to the desktop session, then try again",
            )
        return from_text(answer["secret"], f"the keyring entry mlops/{meta.key_id}")

    def _ask(self, do: str, user: str, backend: str, secret: str = "") -> dict[str, str]:
        request = msgspec.json.encode({"do": do, "user": user, "backend": backend, "secret": secret})
        child = [sys.executable, "-P", str(Path(__file__).with_name("keyring_child.py"))]
        try:
            done = subprocess.run(child, input=request, capture_output=True, timeout=KEYRING_SECONDS, check=False)
            return msgspec.json.decode(done.stdout, type=dict[str, str])
        except subprocess.TimeoutExpired:
            return {"why": f"it did not answer within {KEYRING_SECONDS:.0f} s; it may be waiting for its password"}
        except (OSError, msgspec.DecodeError) as error:
            return {"why": f"the keyring helper failed: {error}"}


class Plugin:
    """A key source that a plugin brings, for example a key management service."""

    def __init__(self, source: PluginSource) -> None:
        self._source = source
        self.name = f"plugin:{getattr(source, 'name', None) or getattr(source, '__name__', type(source).__name__)}"

    def offer(self, store_id: str) -> Offer | None:
        """Return a secret for a new store; see :class:`Source`."""
        try:
            found = self._source(store_id, "")
            if found is None:
                return None
            secret = from_text(found[0], self.name)
        except Exception as error:
            raise NotUsable(f"{type(error).__name__}: {error}") from error
        return Offer(
            secret, f"The store is sealed with a key from {self.name}: it opens only while that answers.", found[1]
        )

    def find(self, meta: StoreMeta) -> bytes:
        """Return the secret of an existing store; see :class:`Source`."""
        try:
            found = self._source(meta.store_id, meta.key_note)
        except Exception as error:
            raise NotAllowed(
                f"{self.name} does not give the store's key", f"{type(error).__name__}: {error}"
            ) from error
        if found is None:
            raise NotAllowed(f"{self.name} does not know this store", f"store {meta.store_id}, key {meta.key_id}")
        return from_text(found[0], self.name)


class KeyFile:
    """A 0600 file in the home's ``keys`` folder; the last resort, and the only source that needs nothing."""

    name = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, identifier: str) -> Path:
        """Return where the key of that id lies."""
        return self._folder / f"{identifier}.key"

    def offer(self, store_id: str) -> Offer | None:
        """Return a secret for a new store; see :class:`Source`."""
        secret = new_secret()
        path = self.path(key_id(secret))
        try:
            private_dir(self._folder)
            with told(f"cannot write the key file {path}"), NewFile(self._folder) as new:
                new.write(to_text(secret).encode() + b"\n")
                new.commit(path)
        except MlopsError as error:
            raise NotAllowed(
                "the new store's key cannot be kept", str(error), "set MLOPS_HOME to a folder of your own"
            ) from error
        words = (
            f"A new key for this store was written to {path}, readable only by you. It protects a copied store or a "
            "backup, not a stolen home: whoever has this folder has the key. Keep a copy of it in a safe place, apart "
            "from your backups: without it the store cannot be opened."
        )
        return Offer(secret, words)

    def find(self, meta: StoreMeta) -> bytes:
        """Return the secret of an existing store; see :class:`Source`."""
        path = self.path(meta.key_id)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise NotAllowed(
                "the store's key file cannot be read",
                f"{path}: {error.strerror}",
                "put the key file back from your copy of it",
            ) from error
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid not in (os.getuid(), 0):
                raise NotAllowed(
                    "the store's key file is open to others",
                    f"{path} has mode {found.st_mode & 0o777:o}",
                    f"chmod 600 {path}",
                )
            return from_text(file.read(4096).decode(errors="replace"), str(path))
