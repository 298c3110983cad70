"""A bundle: a folder, or a ``.tar.gz`` of it, that a machine without our store can serve.

``bundle.json`` says what is served and lists every other file with its SHA-256; ``bundle.sig`` beside it is a
signature (Ed25519) over the bytes of ``bundle.json``. Nothing of a bundle is loaded before all of it was compared.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from mlops_tui.core.errors import BadInput, MlopsError, NotFound, Refused
from mlops_tui.serving.deployment import Model, Part, Rescue, Revision, write_json

MANIFEST, SIGNATURE = "bundle.json", "bundle.sig"
ARCHIVES = (".tar.gz", ".tgz")
PIECE = 1 << 20
_SCHEMA = "bundle/1"
_MAX_UNPACKED = 64 << 30


class Entry(msgspec.Struct, frozen=True):
    """A file of a bundle: its path in it, its length in bytes and its SHA-256."""

    path: str
    size: int
    sha256: str


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a bundle wants to be served, where whoever serves it does not say otherwise.

    The fields are those of :class:`mlops_tui.serving.deployment.Deployment`. ``log_sample`` and ``redact`` hold for
    whoever keeps an inference log: what was never to be written is not written elsewhere either.
    """

    workers: int = 1
    threads: int = 1
    gather_ms: float = 0.0
    max_body: int = 16_777_216
    provider: str = "cpu"
    provider_policy: str = "prefer"
    gpu_memory_mb: int = 0
    python: str = ""
    engines: int = 1
    memory_mb: int = 0
    load_s: float = 120.0
    timeout_s: float = 30.0
    log_sample: float = 1.0
    redact: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in ``bundle.json``.

    The ``file`` of a model and of its parts are paths in the bundle. ``about`` holds what people want to know of each
    revision by its label: model, version, run, metrics, requirements.
    """

    schema: str = _SCHEMA
    name: str
    made_us: int
    program: str
    revisions: tuple[Revision, ...]
    files: tuple[Entry, ...]
    facts: Facts = Facts()
    sticky: str | None = None
    fallback: str | None = None
    rescue: Rescue = Rescue()
    features: Model | None = None
    missing: str = "refuse"
    about: dict[str, Any] = {}


class Bundle(msgspec.Struct, frozen=True):
    """A bundle that was read and compared. ``signed_by`` is the public key in hex; empty when nobody signed."""

    manifest: Manifest
    revisions: tuple[Revision, ...]
    signed_by: str
    features: Model | None = None


def is_bundle(path: Path) -> bool:
    """Tell whether a folder is meant to be one."""
    return (path / MANIFEST).exists()


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a ``.tar.gz`` and return the folder of the bundle in it.

    Raises:
        BadInput: it is no such archive, holds no bundle, or has paths or kinds of files that no bundle has.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            room = _MAX_UNPACKED
            for member in tar:
                room -= member.size
                if room < 0:
                    raise BadInput(f"{archive} is no bundle", "it is larger than 64 GB when unpacked")
                tar.extract(member, into, set_attrs=False, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadInput(f"cannot unpack {archive}", str(error), "is it whole?") from error
    found = [one.parent for one in (into / MANIFEST, *into.glob(f"*/{MANIFEST}")) if one.is_file()]
    if not found:
        raise BadInput(f"{archive} is no bundle", f"there is no {MANIFEST} in it", "mlops deploy bundle makes one")
    return found[0]


def read(folder: Path, key: str = "") -> Bundle:
    """Read a bundle and compare every file with what its manifest says.

    Args:
        folder: the bundle's.
        key: public key in hex whose signature is wanted; empty: any, or none.

    Raises:
        NotFound: there is no bundle, or a file of it is missing.
        BadInput: the manifest is none.
        Refused: a file was changed, or the signature is missing, wrong or another key's.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
        manifest = msgspec.json.decode(text, type=Manifest)
    except FileNotFoundError as error:
        raise NotFound(f"there is no bundle in {folder}", f"{MANIFEST} is missing") from error
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"cannot read {folder / MANIFEST}", str(error)) from error
    if manifest.schema != _SCHEMA:
        raise BadInput(f"{folder} is a bundle of another program version", manifest.schema, f"this reads {_SCHEMA}")
    signed_by = _signer(folder, text, key)
    for entry in manifest.files:
        _compare(folder, entry)
    revisions = tuple(
        msgspec.structs.replace(one, model=_placed(folder, manifest, one.model)) for one in manifest.revisions
    )
    features = _placed(folder, manifest, manifest.features) if manifest.features is not None else None
    return Bundle(manifest, revisions, signed_by, features)


def write_manifest(folder: Path, manifest: Manifest, sign: Any = None) -> str:
    """Write ``bundle.json`` and the signature; returns the SHA-256 of the manifest.

    Args:
        folder: where every other file lies already.
        manifest: what to write.
        sign: an Ed25519 private key, or None.
    """
    write_json(folder / MANIFEST, msgspec.to_builtins(manifest), durable=True)
    text = (folder / MANIFEST).read_bytes()
    if sign is not None:
        said = {"public_key": sign.public_key().public_bytes_raw().hex(), "signature": sign.sign(text).hex()}
        write_json(folder / SIGNATURE, said, durable=True)
    return hashlib.sha256(text).hexdigest()


def _signer(folder: Path, text: bytes, key: str) -> str:
    try:
        said = json.loads((folder / SIGNATURE).read_bytes())
        public, signature = bytes.fromhex(said["public_key"]), bytes.fromhex(said["signature"])
    except FileNotFoundError:
        if key:
            raise Refused(f"the bundle {folder} is not signed", "a signature was asked for") from None
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"the signature of {folder} cannot be read", f"{SIGNATURE}: {error}") from error
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except (InvalidSignature, ValueError) as error:
        raise Refused(
            f"the bundle {folder} was changed", f"the signature is not that of {MANIFEST}", "fetch it again"
        ) from error
    if key and key.lower() != public.hex():
        raise Refused(f"the bundle {folder} is signed by another key", public.hex(), "ask whoever made it")
    return public.hex()


def _compare(folder: Path, entry: Entry) -> None:
    path = folder / _inside(entry.path)
    digest, size = hashlib.sha256(), 0
    try:
        if path.is_symlink():
            raise Refused(f"{entry.path} of the bundle was changed", "it is a link", "fetch the bundle again")
        with open(path, "rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                size += len(piece)
    except FileNotFoundError as error:
        raise NotFound(f"{entry.path} of the bundle is missing", str(folder), "fetch the bundle again") from error
    except OSError as error:
        raise MlopsError(f"cannot read {path}", str(error.strerror or error)) from error
    if size != entry.size or digest.hexdigest() != entry.sha256:
        found = f"{size:,} bytes, SHA-256 {digest.hexdigest()[:12]}"
        raise Refused(
            f"{entry.path} of the bundle was changed",
            f"the manifest says {entry.size:,} bytes, {entry.sha256[:12]}; found {found}",
            "fetch the bundle again",
        )


def _placed(folder: Path, manifest: Manifest, model: Model) -> Model:
    """Return a model whose files are found from anywhere; each must be one that was compared."""
    known = {entry.path for entry in manifest.files}

    def place(path: str) -> str:
        if path not in known:
            raise BadInput(f"{path!r} is not among the files of the bundle", f"{MANIFEST} is not right")
        return str(folder.absolute() / _inside(path))

    parts = tuple(Part(one.path, place(one.file), one.digest) for one in model.parts)
    file = model.file if parts else place(model.file)
    return msgspec.structs.replace(model, file=file, parts=parts)


def _inside(path: str) -> str:
    """Return a path that cannot lead out of the bundle.

    Raises:
        BadInput: it does.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise BadInput(f"{path[:80]!r} leads out of the bundle", f"{MANIFEST} is not right")
    return path
