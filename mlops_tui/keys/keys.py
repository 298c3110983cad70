"""One secret of 32 bytes, and every key that is derived from it (HKDF-SHA256, RFC 5869)."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mlops_tui.core.clock import iso
from mlops_tui.core.errors import BadInput, NotAllowed, Refused
from mlops_tui.keys.meta import StoreMeta

SECRET_BYTES = 32
WRAPPED_BYTES = 12 + 32 + 16
_SALT = b"mlops store secret v1"

_PROTECTS = {
    "env": "a copied disk; not against processes that can read the environment",
    "credentials": "a copied disk; the service manager keeps the key",
    "keyring": "a copied disk or home; the operating system's keyring keeps the key",
    "plugin": "a copied disk or home; the plugin's key service keeps the key",
    "file": "a copied store or a backup; not a stolen home, where the key lies too",
}


def new_secret() -> bytes:
    """Return 32 random bytes from the operating system."""
    return os.urandom(SECRET_BYTES)


def to_text(secret: bytes) -> str:
    """Return a secret as people and key stores carry it: base64, 44 characters."""
    return base64.b64encode(secret).decode()


def from_text(text: str, origin: str) -> bytes:
    """Return the 32 bytes that a text carries.

    Raises:
        BadInput: the text is not 32 bytes in base64. The text itself is never repeated in the message.
    """
    try:
        secret = base64.b64decode(text.strip(), altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise BadInput(
            f"{origin} is not a key", "a key is 32 random bytes in base64", "make one: openssl rand -base64 32"
        )
    return secret


def hkdf(secret: bytes, info: str, length: int = 32) -> bytes:
    """Return ``length`` bytes derived from a secret for one use (HKDF-SHA256, RFC 5869)."""
    return HKDF(SHA256(), length, _SALT, info.encode()).derive(secret)


def key_id(secret: bytes) -> str:
    """Return the public name of a secret: 8 derived bytes in hex."""
    return hkdf(secret, "id", 8).hex()


def key_check(secret: bytes, store_id: str, encryption: str) -> str:
    """Return the value that tells the right secret of a store from a wrong one: 16 derived bytes in hex."""
    return hkdf(secret, f"check|{store_id}|{encryption}", 16).hex()


class Keys:
    """The keys of one open store.

    Attributes:
        meta: what ``store.meta`` says.
        announcement: what a person must be told once, because the store is new; else empty.
    """

    def __init__(self, meta: StoreMeta, secret: bytes | None, announcement: str = "", problem: str = "") -> None:
        self.meta, self.announcement = meta, announcement
        self._secret, self._problem = secret, problem
        self._wrapping = AESGCM(hkdf(secret, "wrap")) if secret and meta.encryption == "on" else None

    def __repr__(self) -> str:
        return f"Keys(mode={self.mode!r}, source={self.source!r}, key_id={self.key_id!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("keys are not pickled: open them where they are needed")

    @property
    def mode(self) -> Literal["aes-256-gcm", "off"]:
        """How the store is sealed."""
        return "aes-256-gcm" if self.meta.encryption == "on" else "off"

    @property
    def source(self) -> str:
        """Where the key came from, as ``store.meta`` names it."""
        return self.meta.key_source

    @property
    def key_id(self) -> str:
        """The public name of the key: 16 hex digits."""
        return self.meta.key_id

    @property
    def store_key(self) -> str:
        """The passphrase for DuckDB's ENCRYPTION_KEY: 32 derived bytes in base64; empty when encryption is off."""
        return to_text(hkdf(self._known(), "store")) if self.mode != "off" else ""

    def derive(self, purpose: str, length: int = 32) -> bytes:
        """Return key bytes for one purpose; two purposes never share a key.

        Raises:
            NotAllowed: encryption is off and the signing key's file is missing.
        """
        return hkdf(self._known(), f"use|{purpose}", length)

    def wrap(self, data_key: bytes, context: bytes = b"") -> bytes:
        """Seal a 32-byte data key (AES-256-GCM, random nonce): 60 bytes, openable only with the same context.

        Raises:
            BadInput: the data key has another length.
            Refused: encryption is off.
        """
        if len(data_key) != SECRET_BYTES:
            raise BadInput("a data key has 32 bytes", f"this one has {len(data_key)}")
        nonce = os.urandom(12)
        return nonce + self._aead().encrypt(nonce, data_key, b"data key v1" + context)

    def unwrap(self, wrapped: bytes, context: bytes = b"") -> bytes:
        """Return the data key that :meth:`wrap` sealed.

        Raises:
            NotAllowed: it was sealed with another key or for another context, or it was changed.
            Refused: encryption is off.
        """
        try:
            return self._aead().decrypt(wrapped[:12], wrapped[12:], b"data key v1" + context)
        except (InvalidTag, ValueError) as error:
            raise NotAllowed(
                "a sealed data key does not open", f"it was changed, or sealed with a key other than {self.key_id}"
            ) from error

    def signing_key(self) -> Ed25519PrivateKey:
        """Return the store's Ed25519 key for audit checkpoints; the same at every start, in both modes.

        Raises:
            NotAllowed: encryption is off and the key file is missing.
        """
        return Ed25519PrivateKey.from_private_bytes(hkdf(self._known(), "sign"))

    def describe(self) -> dict[str, str]:
        """Return what ``mlops doctor`` says about the store's key. Holds no secret."""
        kind = self.source.partition(":")[0]
        return {
            "encryption": self.mode,
            "store": self.meta.store_id,
            "created": iso(self.meta.created),
            "key": self.key_id,
            "source": self.source if not self._place else f"{self.source} ({self._place})",
            "protects": _PROTECTS.get(kind, "")
            if self.mode != "off"
            else "nothing: store and artifacts are plain files",
            "problem": self._problem,
        }

    @property
    def _place(self) -> str:
        return self.meta.key_note if self.source == "keyring" else ""

    def _known(self) -> bytes:
        if self._secret is None:
            raise NotAllowed("the store's signing key is missing", self._problem, "put the key file back from a backup")
        return self._secret

    def _aead(self) -> AESGCM:
        if self._wrapping is None:
            raise Refused("nothing is sealed in this store", "store.encryption is off")
        return self._wrapping


def fits(secret: bytes, meta: StoreMeta) -> bool:
    """Tell whether a secret is the one that a store was made with."""
    return hmac.compare_digest(key_check(secret, meta.store_id, meta.encryption), meta.key_check)
