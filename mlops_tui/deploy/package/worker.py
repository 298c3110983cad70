"""The worker of ``deploy.bundle``: reads the models out of the store and writes a bundle, whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui import __version__
from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.core.errors import Conflict, MlopsError
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.serving.deployment import FEATURES, Model, Part, Rescue, Revision
from mlops_tui.serving.models.bundle import ARCHIVES, Entry, Facts, Manifest, write_manifest
from mlops_tui.serving.models.lookup import REFUSE


def make(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Write the bundle that a request describes and return what it is."""
    target = Path(request["target"])
    packed = target.name.endswith(ARCHIVES)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        scratch.mkdir(mode=0o700, parents=True)
        manifest = _fill(scratch, request, job)
        sign = job.blobs.keys.signing_key() if request["sign"] else None
        digest = write_manifest(scratch, manifest, sign)
        _place(scratch, target, packed, manifest)
    except FileExistsError as error:
        raise Conflict(f"{target} exists", "nothing is written over", "give another name") from error
    except OSError as error:
        raise MlopsError(f"cannot write {target}", str(error.strerror or error), "give another place") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.with_suffix(".part").unlink(missing_ok=True)
    return {
        "bundle": str(target),
        "revisions": [one.label for one in manifest.revisions],
        "files": len(manifest.files),
        "bytes": sum(entry.size for entry in manifest.files),
        "sha256": digest,
        "signed_by": sign.public_key().public_bytes_raw().hex() if sign else "",
        "serve": f"mlops serve {target}",
    }


def _fill(folder: Path, request: dict[str, Any], job: WorkerJob) -> Manifest:
    entries: list[Entry] = []
    revisions = []
    for one in msgspec.convert(request["revisions"], tuple[Revision, ...]):
        below = f"models/{one.no}"
        parts = tuple(
            Part(part.path, _copy(folder, f"{below}/{part.path}", part.digest, job, entries), part.digest)
            for part in one.model.parts
        )
        file = (
            one.model.file if parts else _copy(folder, f"{below}/{_called(one.model)}", one.model.digest, job, entries)
        )
        model = msgspec.structs.replace(one.model, file=below if parts else file, parts=parts)
        revisions.append(msgspec.structs.replace(one, model=model))
    features, missing = None, REFUSE
    if table := request["features"]:
        path = _copy(folder, "features/online", table["digest"], job, entries)
        features, missing = Model(path, table["digest"], FEATURES), table["missing"]
    return Manifest(
        features=features,
        missing=missing,
        name=request["name"],
        made_us=now_us(),
        program=__version__,
        revisions=tuple(revisions),
        files=tuple(entries),
        facts=msgspec.convert(request["facts"], Facts),
        sticky=request["sticky"],
        fallback=request["fallback"],
        rescue=msgspec.convert(request["rescue"], Rescue),
        about=request["about"],
    )


def _called(model: Model) -> str:
    return "model.onnx" if model.engine == "onnx" else "model.pt"


def _copy(folder: Path, path: str, digest: str, job: WorkerJob, entries: list[Entry]) -> str:
    """Write one artifact into the bundle; returns its path there."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    found, size = hashlib.sha256(), 0
    with open(target, "xb") as file:
        for piece in job.blobs.iter_chunks(digest):
            file.write(piece)
            found.update(piece)
            size += len(piece)
        file.flush()
        os.fsync(file.fileno())
    entries.append(Entry(path, size, found.hexdigest()))
    return path


def _place(scratch: Path, target: Path, packed: bool, manifest: Manifest) -> None:
    if not packed:
        if target.exists():
            raise FileExistsError(target)
        os.rename(scratch, target)
        return
    part = scratch.with_suffix(".part")
    with (
        open(part, "xb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped,
        tarfile.TarFile(target.name, "w", zipped, format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(one for one in scratch.rglob("*") if one.is_file()):
            tar.add(path, path.relative_to(scratch).as_posix(), filter=lambda one: _anonymous(one, manifest))
    os.link(part, target)


def _anonymous(member: tarfile.TarInfo, manifest: Manifest) -> tarfile.TarInfo:
    """Leave out who packed it: names and numbers of this machine's users are nobody's business."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode, member.mtime = 0o644, manifest.made_us // SECOND
    return member


if __name__ == "__main__":
    serve(make)
