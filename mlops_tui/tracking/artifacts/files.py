"""Files that clients put, list and delete by their path. Their content lies sealed among the blobs, by digest."""

from __future__ import annotations

import shlex
from typing import Any

from mlops_tui.blobs import Blob
from mlops_tui.contracts import artifact as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict, NotFound, Refused
from mlops_tui.door import Context, act, implements
from mlops_tui.store.session import Session
from mlops_tui.tracking.artifacts.places import Place, find_place, top_of

_CHILDREN = """
SELECT split_part(rest, '/', 1) AS name, bool_or(contains(rest, '/')) AS folder, any_value(size), any_value(digest)
FROM (SELECT substr(path, ?) AS rest, size, digest FROM run_artifact WHERE run = ? AND starts_with(path, ?))
GROUP BY name ORDER BY name
"""


@implements(contract.listed)
def listed(ctx: Context, request: contract.Folder) -> contract.Entries:
    """List what lies directly in a folder; a file and a folder that is not there hold nothing."""
    at = find_place(ctx.session, ctx.tenant, request.of, request.place)
    return contract.Entries(address=top_of(ctx.session, at), entries=entries(ctx.session, at))


@implements(contract.read)
def read(ctx: Context, request: contract.ReadFile) -> contract.Content:
    """Read a file from its sealed blob. A larger one than an answer carries is refused, or its beginning is given."""
    at = find_place(ctx.session, ctx.tenant, request.of, request.path)
    digest, size = stored_at(ctx.session, at)
    if size > contract.READ_AT_ONCE and not request.part:
        most = contract.READ_AT_ONCE // 2**20
        raise Refused(
            f"{at.path} is too large for one answer",
            f"it has {size:,} bytes, an answer carries {most} MiB",
            f"mlops artifact get {request.of} {at.path}",
        )
    with ctx.blobs.open(digest) as file:
        content = file.read(contract.READ_AT_ONCE)
    return contract.Content(name=at.path.rpartition("/")[2], content=content, size=size, digest=digest)


@implements(contract.keep)
def keep(ctx: Context, request: contract.KeepFile) -> Done:
    """Let a sealed blob lie at a path; what lay there before is replaced."""

    def write(ctx: Context) -> Place:
        at = writable(ctx.session, find_place(ctx.session, ctx.tenant, request.of, request.path))
        put_file(ctx, at.owner, at.path, Blob(request.digest, request.size), ctx.now)
        return at

    at = act(ctx.house, ctx.caller, write)
    if at.kind == "run":
        ctx.house.touch("run", at.owner, ctx.tenant)
    return Done(object=f"{at.kind}:{at.owner}/{at.path}", text=f"keep {at.path}")


@implements(contract.delete)
class Delete:
    """Delete a file, or a folder with all that is in it. The content stays until nothing refers to it any more."""

    def plan(self, ctx: Context, request: contract.Folder) -> Plan:
        """Count what goes."""
        at = writable(ctx.session, find_place(ctx.session, ctx.tenant, request.of, request.place), whole=True)
        rows = _below(ctx.session, at, itself=True)
        if not rows:
            raise NotFound(f"there is no artifact {at.path}", "", "mlops artifact list shows what is there")
        size = sum(row["size"] for row in rows)
        what, top = at.path or "all artifacts", top_of(ctx.session, at)
        return Plan(
            operation="artifact.delete",
            object=f"{top}/{at.path}".rstrip("/"),
            text=f"delete {what} ({len(rows)} file{'s' * (len(rows) != 1)}, {size:,} bytes)",
            changes=[Change(object=f"{top}/{row['path']}", field="digest", before=row["digest"]) for row in rows[:100]],
            cli=shlex.join(["mlops", "artifact", "delete", request.of, *([request.place] if request.place else [])]),
            data={"place": at},
        )

    def apply(self, ctx: Context, request: contract.Folder, plan: Plan) -> Done:
        """Forget the paths."""
        at: Place = plan.data["place"]
        gone = f"DELETE FROM run_artifact WHERE {_WITHIN}"
        ctx.session.change("run_artifact", [at.owner], gone, [at.owner, at.path, at.path, at.path])
        ctx.emit("run" if at.kind == "run" else "artifact", at.owner, "deleted", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


def entries(session: Session, at: Place) -> list[contract.Entry]:
    """Return what lies directly in a folder, by name; paths begin at the owner's top."""
    prefix = f"{at.path}/" if at.path else ""
    return [
        contract.Entry(
            path=prefix + name, folder=folder, size=None if folder else size, digest="" if folder else digest
        )
        for name, folder, size, digest in session.rows(_CHILDREN, [len(prefix) + 1, at.owner, prefix])
    ]


def stored_at(session: Session, at: Place) -> tuple[str, int]:
    """Return digest and size of the file at a place.

    Raises:
        BadInput: a folder lies there.
        NotFound: nothing does.
    """
    row = session.row("SELECT digest, size FROM run_artifact WHERE run = ? AND path = ?", [at.owner, at.path])
    if row is not None:
        return row[0], row[1]
    if _below(session, at):
        raise BadInput(f"{at.path or 'the top'} is a folder", "", "name one of its files")
    raise NotFound(f"there is no artifact {at.path}", "", "mlops artifact list shows what is there")


def put_file(ctx: Context, owner: str, path: str, blob: Blob, ts: int) -> None:
    """Let a blob lie at a path of an owner since a moment (µs); what was put there later stays.

    Both happen in the caller's transaction.
    """
    ctx.session.execute(
        "INSERT INTO blob VALUES (?, ?, 'artifact', make_timestamp(?)) ON CONFLICT DO NOTHING",
        [blob.digest, blob.size, ctx.now],
    )
    before = ctx.session.row("SELECT epoch_us(ts) FROM run_artifact WHERE run = ? AND path = ?", [owner, path])
    if before and before[0] > ts:
        return
    if before:
        gone = "DELETE FROM run_artifact WHERE run = ? AND path = ?"
        ctx.session.change("run_artifact", [owner], gone, [owner, path])
    ctx.session.insert("run_artifact", run=owner, path=path, digest=blob.digest, size=blob.size, ts_us=ts)


_WITHIN = "run = ? AND (? = '' OR path = ? OR starts_with(path, ? || '/'))"


def _below(session: Session, at: Place, *, itself: bool = False) -> list[dict[str, Any]]:
    """Return the files in a folder, the path itself among them if asked for."""
    rows = session.dicts(
        f"SELECT path, digest, size FROM run_artifact WHERE {_WITHIN} ORDER BY path",
        [at.owner, at.path, at.path, at.path],
    )
    return [row for row in rows if itself or row["path"] != at.path]


def writable(session: Session, at: Place, *, whole: bool = False) -> Place:
    """Return a place where a file may be put or, ``whole``, whose files may be deleted.

    Raises:
        Refused: it belongs to a registered version.
        BadInput: it names no file.
        Conflict: a folder lies at the path, or a file where a folder would have to be.
    """
    if at.kind == "version":
        raise Refused("a registered version keeps its files as they are", at.path, "register the next version")
    if whole:
        return at
    if not at.path:
        raise BadInput("the path names no file", "", "give a path such as plots/roc.png")
    if other := _in_the_way(session, at.owner, at.path):
        why = f"{other} is a file, not a folder" if len(other) < len(at.path) else "a folder lies there"
        raise Conflict(f"{at.path} cannot be put", why, "choose another path")
    return at


def beside(session: Session, owner: str, path: str) -> str:
    """Return where a file can lie that nobody may refuse any more: its path, with a ~ where another is in the way."""
    while other := _in_the_way(session, owner, path):
        path = f"{other}~{path[len(other) :]}" if len(other) < len(path) else f"{path}~"
    return path


def _in_the_way(session: Session, owner: str, path: str) -> str | None:
    """Return a file that makes a folder of this path, or of one above it a file."""
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts))]
    found: str | None = session.value(
        """SELECT path FROM run_artifact WHERE run = ? AND (starts_with(path, ? || '/') OR path IN (SELECT unnest(?)))
           LIMIT 1""",
        [owner, path, above],
    )
    return found
