"""The audit trail: list, show, verify, export, and signed checkpoints."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from mlops_tui.contracts import govern as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Done, Empty, Plan
from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.door import Context, House, every, implements
from mlops_tui.governance import chain
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

_COLUMNS = (
    "seq, epoch_us(ts) AS ts, actor, on_behalf_of, tenant, action, object, request_id, reason, outcome, detail, prev"
)

lists(
    Listing(
        noun="audit",
        source="audit",
        columns=[
            Column(name="seq", label="#", kind="id"),
            Column(name="ts", label="when", kind="time"),
            Column(name="actor", label="who"),
            Column(name="action", label="did"),
            Column(name="object", label="to"),
            Column(name="outcome", label="outcome", kind="status"),
            Column(name="reason", label="why"),
            Column(name="text", label="what"),
            Column(name="hash", label="hash"),
        ],
        expressions={
            "seq": "seq",
            "ts": "epoch_us(ts)",
            "actor": "actor",
            "action": "action",
            "object": "object",
            "outcome": "outcome",
            "reason": "reason",
            "text": "detail::JSON->>'text'",
            "hash": "hash",
        },
        sort="-seq",
        tenant="tenant",
    )
)
lists(
    Listing(
        noun="event",
        source="event",
        columns=[
            Column(name="seq", label="#", kind="id"),
            Column(name="ts", label="when", kind="time"),
            Column(name="text", label="text"),
            Column(name="actor", label="who"),
            Column(name="topic", label="about"),
            Column(name="action", label="what"),
            Column(name="link", label="link"),
        ],
        expressions={
            "seq": "seq",
            "ts": "epoch_us(ts)",
            "text": "text",
            "actor": "actor",
            "topic": "topic",
            "action": "action",
            "link": "link",
        },
        sort="-seq",
        tenant="tenant",
    )
)


def records(session: Session) -> Iterator[tuple[chain.Record, str]]:
    """Yield every record with its stored hash, in order."""
    for row in session.dicts(f"SELECT {_COLUMNS}, hash FROM audit ORDER BY seq"):
        stored = row.pop("hash")
        yield chain.Record(**row), stored


def checkpoints(session: Session) -> list[chain.Checkpoint]:
    """Return every signed checkpoint, in order."""
    rows = session.dicts(
        "SELECT seq, epoch_us(ts) AS ts, hash, root, public_key, signature FROM audit_checkpoint ORDER BY seq"
    )
    return [chain.Checkpoint(**row) for row in rows]


def verdict(ctx: Context) -> chain.Verdict:
    """Verify the whole chain and its checkpoints against this home's signing key."""
    return chain.verify(records(ctx.session), checkpoints(ctx.session), public_key(ctx.house))


def public_key(house: House) -> str:
    """Return this home's audit key in hex."""
    return house.keys.signing_key().public_key().public_bytes_raw().hex()


@implements(contract.audit_verify)
def verify(ctx: Context, _: Empty) -> contract.ChainVerdict:
    """Verify the audit chain."""
    found = verdict(ctx)
    ctx.house.facts.update(audit_ok=float(found.ok), audit_checked_us=float(ctx.now))
    text = (
        f"{found.count} records and {found.checkpoints} checkpoints verify"
        if found.ok
        else f"the chain breaks at record {found.first_broken}: {found.why}"
    )
    return contract.ChainVerdict(
        ok=found.ok,
        records=found.count,
        checkpoints=found.checkpoints,
        first_broken=found.first_broken,
        head=found.hash,
        root=found.root,
        text=text,
    )


@implements(contract.audit_show)
def show(ctx: Context, request: contract.OneAuditRecord) -> contract.AuditRecord:
    """Show a record with its links."""
    row = ctx.session.dict(
        f"SELECT {_COLUMNS}, hash FROM audit WHERE seq = ? AND tenant = ?", [request.seq, ctx.tenant]
    )
    if row is None:
        raise NotFound(f"there is no audit record {request.seq}", "", "mlops audit list shows them")
    row["detail"] = msgspec.json.decode(row["detail"])
    return contract.AuditRecord(**row)


@implements(contract.audit_export)
class ExportAudit:
    """Write the trail with its checkpoints to a file of the caller's, which must not exist yet."""

    def plan(self, ctx: Context, request: contract.ExportAudit) -> Plan:
        """Check the place."""
        path = Path(ctx.caller.cwd or "/", request.path)
        if path.exists() or not path.parent.is_dir():
            raise BadInput(
                f"cannot write {path}",
                "it exists already" if path.exists() else "its folder does not exist",
                "name a new file",
            )
        count = ctx.session.value("SELECT count(*) FROM audit")
        return Plan(
            operation="audit.export", object=str(path), text=f"export {count} audit records", data={"path": str(path)}
        )

    def apply(self, ctx: Context, request: contract.ExportAudit, plan: Plan) -> Done:
        """Sign what is not signed yet, so that the file proves all of itself; write it whole or not at all."""
        path = Path(plan.data["path"])
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        _sign(ctx.house, ctx.session)
        try:
            with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                _write(ctx.session, file)
            _settle(scratch, path)
        except OSError as error:
            why, fix = str(error.strerror or error), "free some space, or name another place"
            raise BadInput(f"cannot write {path}", why, fix) from error
        finally:
            scratch.unlink(missing_ok=True)
        return Done(object=str(path), text=plan.text)


def _settle(scratch: Path, path: Path) -> None:
    """Give a whole file its name; unlike a rename, a link never replaces what somebody has put there meanwhile."""
    try:
        os.link(scratch, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        scratch.rename(path)  # a disk without links: a memory stick, say


def _write(session: Session, file: BinaryIO) -> None:
    for record, stored in records(session):
        file.write(msgspec.json.encode({**msgspec.to_builtins(record), "hash": stored}) + b"\n")
    for checkpoint in checkpoints(session):
        file.write(msgspec.json.encode({"checkpoint": checkpoint}) + b"\n")
    file.flush()
    os.fsync(file.fileno())


@every(10.0, "governance.checkpoint")
def sign_when_due(house: House) -> None:
    """Sign the chain's head every 64 records or 60 seconds with something new."""
    head, signed, at = house.read(
        lambda session: session.rows(
            """SELECT (SELECT coalesce(max(seq), 0) FROM audit), coalesce(max(seq), 0), coalesce(epoch_us(max(ts)), 0)
               FROM audit_checkpoint"""
        )
    )[0]
    late = now_us() - at > chain.CHECKPOINT_SECONDS * SECOND
    if head - signed >= chain.CHECKPOINT_EVERY or (head > signed and late):
        sign(house)


def sign(house: House) -> None:
    """Sign what is not signed yet; the agent does before it leaves."""
    house.store.write(lambda session: _sign(house, session))


def _sign(house: House, session: Session) -> None:
    tree = _signed_tree(session)
    hashes = session.column("SELECT hash FROM audit WHERE seq > ? ORDER BY seq", [tree.size])
    if not hashes:
        return
    for stored in hashes:
        tree.append(stored)
    fields = msgspec.to_builtins(chain.sign_checkpoint(house.keys.signing_key(), tree, hashes[-1], now_us()))
    session.insert("audit_checkpoint", ts_us=fields.pop("ts"), peaks=" ".join(tree.peaks), **fields)


def _signed_tree(session: Session) -> chain.Tree:
    """Return the tree of the last checkpoint; an empty one when its peaks, which nobody signed, are not of its root."""
    newest = "SELECT seq, root, peaks FROM audit_checkpoint ORDER BY seq DESC LIMIT 1"
    seq, root, peaks = session.row(newest) or (0, "", "")
    with contextlib.suppress(BadInput, ValueError):
        tree = chain.Tree(seq, peaks.split())
        if tree.root() == root:
            return tree
    return chain.Tree()
