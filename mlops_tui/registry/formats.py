"""Which format a model file is in, judged by its content, never by its name. Opening a pickle would run its code."""

from __future__ import annotations

import pickletools
import zipfile
from typing import Any, BinaryIO

import msgspec

from mlops_tui.core.errors import Refused
from mlops_tui.registry.onnx_file import NotOnnx, read_signature

ACCEPTED = "ONNX, TorchScript, an exported torch program (.pt2), safetensors or JSON"
_MAX_HEADER = 100_000_000
_MAX_JSON = 64_000_000
_SCANNED = 4_000_000
_OTHERS = {
    b"\x1f\x8b": "gzip data",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"\x78\x01": "zlib data, as joblib writes it",
    b"\x78\x5e": "zlib data, as joblib writes it",
    b"\x78\x9c": "zlib data, as joblib writes it",
    b"\x78\xda": "zlib data, as joblib writes it",
    b"\x93NUMPY": "a NumPy array, which may hold pickled objects",
    b"\x89HDF": "an HDF5 file",
    b"\x7fELF": "a program",
    b"PK\x03\x04": "a ZIP archive",
}


def examine(file: BinaryIO, size: int, name: str) -> tuple[str, dict[str, Any]]:
    """Return a model file's format and what it says of inputs and outputs.

    Formats are ``onnx``, ``torchscript``, ``pt2``, ``safetensors`` and ``json``. The archives of torch have pickles in
    them all the same: TorchScript's are read by a reader that knows tensors alone, and our servers open an exported
    program so that none of its pickles may name code.

    Args:
        file: a seekable reader of it.
        size: its length in bytes.
        name: what to call it in a refusal.

    Raises:
        Refused: it is something else, or not whole; the reason tells what it looks like.
    """
    if size == 0:
        raise _refusal(name, "it is empty")
    if _is_safetensors(file, size):
        return "safetensors", {}
    if torch := _torch(file):
        return torch
    try:
        signature = read_signature(file, size)
    except NotOnnx as error:
        if _is_json(file, size):
            return "json", {}
        raise _refusal(name, _looks_like(file) or f"it is none of them ({error})") from error
    if signature.pop("external"):
        raise _refusal(name, "its weights lie in another file", "export it as one file: external_data=False")
    return "onnx", signature


def pickle_imports(data: bytes) -> list[str] | None:
    """Return what a pickle would import when opened, as ``os.system``; None when the bytes are not a pickle.

    Only the opcodes are read (``pickletools.genops``); nothing is executed.
    """
    found: dict[str, None] = {}
    texts: list[str] = []
    stopped, steps = False, 0
    try:
        for opcode, argument, _ in pickletools.genops(data):
            steps += 1
            if opcode.name in ("GLOBAL", "INST"):
                found[str(argument).replace(" ", ".")] = None
            elif opcode.name == "STACK_GLOBAL":
                found[".".join(texts[-2:])] = None
            elif isinstance(argument, str):
                texts.append(argument)
            stopped = opcode.name == "STOP"
    except Exception:  # pickletools raises whatever the bytes lead it to
        pass
    marked = data[:1] == b"\x80" and len(data) > 1 and data[1] <= 5
    return list(found) if marked or (stopped and steps > 1) else None


def _is_safetensors(file: BinaryIO, size: int) -> bool:
    """Tell whether header and length fit: 8 bytes little-endian n, n bytes of JSON, then the tensors to the end."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 10 or length > min(size - 8, _MAX_HEADER):
        return False
    try:
        header = msgspec.json.decode(file.read(length))
        ends = [one["data_offsets"][1] for key, one in header.items() if key != "__metadata__"]
        return bool(8 + length + max(ends, default=0) == size)
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, KeyError, IndexError, TypeError):
        return False


def _torch(file: BinaryIO) -> tuple[str, dict[str, Any]] | None:
    """Tell what torch wrote an archive, and with which signature (an extra file of the archive); None: not torch."""
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            inner = {name.partition("/")[2]: name for name in archive.namelist()}
            if "archive_format" in inner and archive.read(inner["archive_format"])[:16].strip() == b"pt2":
                kind = "pt2"
            elif "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
                kind = "torchscript"
            else:
                return None
            extra = inner.get("extra/signature.json")
            said = msgspec.json.decode(archive.read(extra), type=dict[str, Any]) if extra else {}
    except Exception:  # a broken archive is refused all the same
        return None
    return kind, said


def _is_json(file: BinaryIO, size: int) -> bool:
    if size > _MAX_JSON:
        return False
    file.seek(0)
    try:
        return isinstance(msgspec.json.decode(file.read()), dict | list)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _looks_like(file: BinaryIO) -> str:
    """Say what a refused file looks like; empty when nobody knows."""
    file.seek(0)
    head = file.read(_SCANNED)
    if (imports := pickle_imports(head)) is not None:
        return _pickle("it is a pickle", imports)
    if head.startswith(b"PK\x03\x04") and (inner := _zipped_pickle(file)) is not None:
        return _pickle("it is an archive with a pickle in it, as torch.save writes it", pickle_imports(inner) or [])
    return next((f"it is {what}" for magic, what in _OTHERS.items() if head.startswith(magic)), "")


def _pickle(what: str, imports: list[str]) -> str:
    names = f" ({', '.join(imports[:5])})" if imports else ""
    return f"{what}: opening it would run whatever code it names{names}"


def _zipped_pickle(file: BinaryIO) -> bytes | None:
    try:
        with zipfile.ZipFile(file) as archive:
            name = next((one for one in archive.namelist() if one.endswith((".pkl", ".pickle"))), None)
            if name is None:
                return None
            with archive.open(name) as member:
                return member.read(_SCANNED)
    except Exception:  # a broken archive is refused all the same
        return None


def _refusal(name: str, why: str, fix: str = "export the model to ONNX") -> Refused:
    return Refused(f"{name} cannot be registered: a model is {ACCEPTED}", why, fix)
