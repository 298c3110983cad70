"""Artifacts of runs: the copy in the spool is checked, sealed among the blobs, and deleted after the commit."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from mlops_tui.blobs import Blob, Damaged
from mlops_tui.core.clock import DAY
from mlops_tui.core.errors import BadInput, MlopsError, NotFound, Refused
from mlops_tui.door import Context, House, absorbs, every, prepares, refers
from mlops_tui.spool import files
from mlops_tui.spool.records import Artifact
from mlops_tui.spool.text import logical_path
from mlops_tui.store.session import Session
from mlops_tui.tracking.artifacts.files import beside, put_file
from mlops_tui.tracking.life.pending import unread
from mlops_tui.tracking.runs.contents import put_tags
from mlops_tui.tracking.runs.find import elsewhere

log = logging.getLogger(__name__)
refers("SELECT digest FROM run_artifact WHERE run NOT IN (SELECT unnest($gone::VARCHAR[]))")
CONFLICT = "mlops.conflict.artifact."
"""Tags that say where a file lies whose path was a folder already, or led through a file."""
LEFT_S = 60.0
"""Seconds after which a kept file whose run is over, and whose spool is read, is nobody's."""


_sealed: dict[Path, Blob] = {}
"""What was sealed ahead of its transaction, by the kept file."""


@prepares("artifact")
def seal_ahead(house: House, owner: str, records: list[Artifact]) -> None:
    """Seal what a run kept before the writer is asked: a checkpoint of a gigabyte takes seconds.

    What a client uploaded is among the blobs already; here its bytes reach the disk before anything refers to them.
    """
    if house.read(partial(elsewhere, owner=owner)):
        return
    for record in records:
        with suppress(Refused, BadInput, NotFound):  # told when the record is absorbed
            if record.digest:
                house.blobs.settle(record.digest)
                continue
            kept = _kept(house.home.spool, owner, record)
            _sealed[kept] = house.blobs.put_file(kept)


@absorbs("artifact")
def artifacts(ctx: Context, owner: str, records: list[Artifact]) -> None:
    """Seal what a run kept. A record that names no kept file is set aside, and the next one taken."""
    if elsewhere(ctx.session, owner):
        return
    for record in records:
        try:
            blob = _stored(ctx, record) if record.digest else _sealed_of(ctx, owner, record)
        except (Refused, BadInput, NotFound) as error:
            _set_aside(ctx, owner, record, error)
        else:
            path = beside(ctx.session, owner, record.path)
            if path != record.path:
                put_tags(ctx, owner, [(record.t, {CONFLICT + record.path: path})])
            put_file(ctx, owner, path, blob, record.t)


@every(30.0, "tracking.leftovers")
def leftovers(house: House) -> None:
    """Delete copies that a crash between commit and deletion, or before the record was written, left behind."""
    spool = house.home.spool
    for folder in spool.glob(f"*/{files.KEPT}"):
        owner = folder.parent.name
        old = [path for path in folder.iterdir() if _age_s(path) > LEFT_S]
        over = bool(old) and house.read(partial(_over, spool=spool, owner=owner))
        if over:
            for path in old:
                files.remove(path)
            log.info("deleted %d leftover files of %s", len(old), owner)


def _kept(spool: Path, owner: str, record: Artifact) -> Path:
    """Return the copy that a record names.

    Raises:
        Refused: it is no kept file, or not what the record says.
    """
    _check_name(record)
    path = files.kept_file(spool, owner, record.file)
    if (size := path.stat().st_size) != record.size:
        raise Refused(f"{path.name} has {size:,} bytes, its record says {record.size:,}")
    return path


def _stored(ctx: Context, record: Artifact) -> Blob:
    """Return the content that a record names by its digest.

    Raises:
        Refused: its path is no name.
        BadInput: the digest is none.
        NotFound: there is no such content, or a power cut left a part of it.
    """
    _check_name(record)
    try:
        size = ctx.blobs.size(record.digest)
    except Damaged as error:
        raise NotFound(str(error)) from error
    if size != record.size:
        raise NotFound(f"the artifact {record.digest[:12]} has {size:,} bytes, its record says {record.size:,}")
    return Blob(record.digest, size)


def _sealed_of(ctx: Context, owner: str, record: Artifact) -> Blob:
    """Seal the copy that a record names, if that was not done ahead; it goes once the transaction stands."""
    kept = _kept(ctx.home.spool, owner, record)
    blob = _sealed.pop(kept, None) or ctx.blobs.put_file(kept)
    ctx.after.append(lambda: files.remove(kept))
    return blob


def _check_name(record: Artifact) -> None:
    if logical_path(record.path) != record.path:
        raise Refused(f"{record.path!r:.80} is no name for an artifact")


def _set_aside(ctx: Context, owner: str, record: Artifact, error: MlopsError) -> None:
    ctx.session.insert(
        "quarantine",
        path=owner,
        offset_bytes=0,
        line=msgspec.json.encode(record).decode(),
        error=str(error),
        ts_us=ctx.now,
    )


def _over(session: Session, spool: Path, owner: str) -> bool:
    """Tell whether nothing more will be said of an owner's kept files."""
    row = session.row("SELECT status FROM run WHERE id = ?", [owner])
    if row is None:
        # Perhaps a run whose start was not read yet, or an owner that another room looks after.
        newest = max((path.stat().st_mtime for path in (spool / owner).iterdir()), default=0.0)
        return time.time() - newest > DAY / 1e6 and not unread(session, spool, owner)
    return row[0] != "running" and not unread(session, spool, owner)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
