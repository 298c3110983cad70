"""The audit chain, pure: each record's hash covers the one before, a Merkle tree covers them all, signatures fix both.

A record's hash is SHA-256(0x00 ‖ canonical JSON of the record with ``prev``), which is at once the link of the chain
and the leaf of the tree of RFC 6962 §2.1. A chain alone can be rewritten from any point by whoever owns the file: only
a checkpoint that has left the machine shows that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mlops_tui.core.errors import BadInput
from mlops_tui.core.jsonx import canonical

GENESIS = "0" * 64
CHECKPOINT_EVERY = 64
CHECKPOINT_SECONDS = 60
DETAIL_BYTES = 2**18
"""Of an act, that it can be taken back: a thousand runs deleted at once, or the longest note, before and after."""
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_STRANGER = "the checkpoint over {} was not signed by the key of this chain"
_encode = msgspec.json.Encoder().encode


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One act. Fields stand in alphabetical order, so that encoding them is encoding canonically.

    Attributes:
        action: name of the operation.
        actor: who did it.
        detail: canonical JSON text, see :func:`detail_of`: before and after, or their digests.
        object: what it was done to.
        on_behalf_of: for whom; empty: for themselves.
        outcome: ``done``, ``refused``, ``failed``, …
        prev: hash of the record before; :data:`GENESIS` for the first.
        reason: why, in the actor's words.
        request_id: the call that it belongs to.
        seq: 1, 2, 3, … without gaps.
        tenant: whose object it is.
        ts: microseconds since the epoch, UTC.
    """

    action: str
    actor: str
    detail: str = "{}"
    object: str = ""
    on_behalf_of: str = ""
    outcome: str = "done"
    prev: str = GENESIS
    reason: str = ""
    request_id: str = ""
    seq: int
    tenant: str = "default"
    ts: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A signed statement: after ``seq`` records the last hash and the Merkle root were these (hex; ``ts`` in µs)."""

    seq: int
    ts: int
    hash: str
    root: str
    public_key: str
    signature: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a chain is whole.

    Attributes:
        ok: nothing is wrong.
        count: records that verified, before the first broken one.
        checkpoints: signed checkpoints that verified.
        first_broken: sequence number of the first record that does not hold, or None.
        why: what is wrong there; empty when ok.
        hash: hash of the last record that was read.
        root: Merkle root over the records that were read.
    """

    ok: bool
    count: int
    checkpoints: int
    first_broken: int | None
    why: str
    hash: str
    root: str


class Tree:
    """The Merkle tree of RFC 6962 §2.1, grown leaf by leaf; it keeps only the roots of its full subtrees (≤ 64)."""

    def __init__(self, size: int = 0, peaks: Sequence[str] = ()) -> None:
        """Take up a tree of ``size`` leaves again from its :attr:`peaks`; default, an empty one."""
        if size.bit_count() != len(peaks):
            raise BadInput(f"a tree of {size} leaves has {size.bit_count()} peaks", f"{len(peaks)} were given")
        self.size, self._peaks = size, [bytes.fromhex(peak) for peak in peaks]

    @property
    def peaks(self) -> list[str]:
        """The roots of the full subtrees, largest first, in hex: all that is needed to go on."""
        return [peak.hex() for peak in self._peaks]

    def append(self, leaf: str) -> None:
        """Add a leaf hash (64 hex digits)."""
        node, size = bytes.fromhex(leaf), self.size
        while size & 1:
            node = hashlib.sha256(b"\x01" + self._peaks.pop() + node).digest()
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> str:
        """Return the root in hex; of the empty tree, SHA-256 of nothing."""
        if not self._peaks:
            return hashlib.sha256().hexdigest()
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = hashlib.sha256(b"\x01" + peak + node).digest()
        return node.hex()


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """Where a chain begins: nothing, or the last record that retention removed, with the peaks of the tree there."""

    seq: int = 0
    hash: str = GENESIS
    peaks: tuple[str, ...] = ()


def link(prev: str, record: Record) -> str:
    """Return the hash of a record that follows the one whose hash is ``prev``; 64 hex digits.

    Raises:
        BadInput: ``prev`` is no hash, or a field is not text that can be written as UTF-8.
    """
    if not _HASH.fullmatch(prev):
        raise BadInput(f"{prev[:80]!r} is not a hash", "a hash is 64 hexadecimal digits in lower case")
    return _hash(record if record.prev == prev else msgspec.structs.replace(record, prev=prev))


def detail_of(value: Mapping[str, Any]) -> str:
    """Return what an act changed as canonical JSON text; over 256 KiB, its SHA-256 and size instead.

    Raises:
        BadInput: the value cannot be written as JSON.
    """
    try:
        text = canonical(value)
        # NaN and infinity are no JSON: another verifier could not read them.
        if any(word in text for word in (b"NaN", b"Infinity")):
            msgspec.json.decode(text)
    except (TypeError, ValueError, msgspec.DecodeError) as error:
        raise BadInput("the detail of an audit record must be JSON", str(error)) from error
    if len(text) > DETAIL_BYTES:
        text = canonical({"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()})
    return text.decode()


def verify(
    rows: Iterable[tuple[Record, str]],
    checkpoints: Iterable[Checkpoint] = (),
    public_key: str = "",
    anchor: Anchor | None = None,
) -> Verdict:
    """Walk a chain from its anchor and tell whether it is whole; stops at the first broken record.

    Args:
        rows: records with their stored hashes, in order.
        checkpoints: what was signed about this chain, in any order; each must be of a record that is there.
        public_key: hex of the Ed25519 key that must have signed them.
        anchor: where the rows begin; default, at record 1.

    Returns:
        The verdict; it is not ok when a record was changed, removed, added or moved, when its hash was rewritten after
        a checkpoint, when signed records are missing at the end, or when a checkpoint is not of this key.
    """
    walk = _Walk(anchor or Anchor(), checkpoints, public_key)
    for record, stored in rows:
        walk.step(record, stored)
        if walk.why:
            break
    else:
        walk.finish()
    return walk.verdict()


class _Walk:
    """One verification under way. ``why`` is empty until something is wrong at record ``broken``."""

    def __init__(self, anchor: Anchor, checkpoints: Iterable[Checkpoint], public_key: str) -> None:
        self.tree, self.head, self.public_key = Tree(anchor.seq, anchor.peaks), anchor.hash, public_key
        self.count, self.held, self.why, self.broken = 0, 0, "", 0
        self.signed: dict[int, list[Checkpoint]] = {}
        for checkpoint in checkpoints:
            self.signed.setdefault(checkpoint.seq, []).append(checkpoint)
        self.compare()

    def step(self, record: Record, stored: str) -> None:
        """Check one record and what was signed over it."""
        seq = self.tree.size + 1
        if why := _broken(record, stored, seq, self.head):
            self.fail(why, seq)
            return
        self.tree.append(stored)
        self.head = stored
        self.compare()
        self.count += not self.why

    def compare(self) -> None:
        """Check every checkpoint over exactly the records so far."""
        for checkpoint in self.signed.pop(self.tree.size, ()):
            if why := _contradicted(checkpoint, self.head, self.tree.root(), self.public_key):
                self.fail(why, self.tree.size)
                return
            self.held += 1

    def finish(self) -> None:
        """Check what was signed over records that are not there: removed by retention, or missing at the end."""
        for seq, group in sorted(self.signed.items()):
            for checkpoint in group:
                if not verify_checkpoint(checkpoint, self.public_key):
                    self.fail(_STRANGER.format(seq), seq)
                    return
                if seq > self.tree.size:
                    first = self.tree.size + 1
                    self.fail(f"records {first} to {seq} are missing: a checkpoint was signed over {seq}", first)
                    return
                self.held += 1

    def fail(self, why: str, seq: int) -> None:
        """Note what is wrong, and at which record."""
        self.why, self.broken = why, seq

    def verdict(self) -> Verdict:
        """Return what was found."""
        return Verdict(
            ok=not self.why,
            count=self.count,
            checkpoints=self.held,
            first_broken=self.broken if self.why else None,
            why=self.why,
            hash=self.head,
            root=self.tree.root(),
        )


def sign_checkpoint(key: Ed25519PrivateKey, tree: Tree, head: str, ts: int) -> Checkpoint:
    """Return a signed checkpoint over all records of a tree, whose last hash is ``head``, at ``ts`` (µs)."""
    public = key.public_key().public_bytes_raw().hex()
    statement = Checkpoint(seq=tree.size, ts=ts, hash=head, root=tree.root(), public_key=public)
    return msgspec.structs.replace(statement, signature=key.sign(_statement(statement)).hex())


def verify_checkpoint(checkpoint: Checkpoint, public_key: str) -> bool:
    """Tell whether the holder of ``public_key`` (hex) signed exactly this checkpoint."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(checkpoint.signature), _statement(checkpoint))
    except (InvalidSignature, ValueError):
        return False
    return True


def _hash(record: Record) -> str:
    try:
        return hashlib.sha256(b"\x00" + _encode(record)).hexdigest()
    except UnicodeEncodeError as error:
        raise BadInput(f"audit record {record.seq} is not text", str(error), "give the reason in UTF-8") from error


def _broken(record: Record, stored: str, seq: int, prev: str) -> str:
    """Return what is wrong with one record, or nothing."""
    if record.seq != seq:
        return (
            f"record {seq} is missing; the next one is {record.seq}"
            if record.seq > seq
            else f"record {record.seq} comes twice"
        )
    if record.prev != prev:
        return f"record {seq} does not follow the record before it"
    if _hash(record) != stored:
        return f"record {seq} was changed: its hash does not fit its content"
    return ""


def _contradicted(checkpoint: Checkpoint, found: str, root: str, public_key: str) -> str:
    """Return how a checkpoint contradicts the chain, or nothing."""
    if not verify_checkpoint(checkpoint, public_key):
        return _STRANGER.format(checkpoint.seq)
    if checkpoint.hash != found or checkpoint.root != root:
        return f"record {checkpoint.seq} or one before it was rewritten: the signed checkpoint says otherwise"
    return ""


def _statement(checkpoint: Checkpoint) -> bytes:
    """Return the bytes that are signed: a label, then the checkpoint without its signature as canonical JSON."""
    fields = msgspec.structs.asdict(checkpoint)
    del fields["signature"]
    return b"mlops audit checkpoint v1\n" + canonical(fields)
