"""Who may do what, what was done, and what it cost."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Empty, Request, operation


class CreateIdentity(Request, frozen=True):
    """A name and what it may do."""

    positional = ("name", "role")
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")]
    role: Annotated[str, Meta(description="viewer, engineer, operator or admin")]


class OneIdentity(Request, frozen=True):
    """Names an identity."""

    positional = ("name",)
    name: str


class CheckPolicy(Request, frozen=True):
    """A question: may this one do that?"""

    positional = ("permission",)
    permission: Annotated[str, Meta(description="noun:verb, for example model:promote")]
    identity: Annotated[str, Meta(description="who; default: you")] = ""


class PolicyVerdict(Answer):
    """The answer and the rule that gave it. ``roles`` are those that may."""

    identity: str
    role: str
    permission: str
    allowed: bool
    rule: str
    roles: list[str] = msgspec.field(default_factory=list)


class ChainVerdict(Answer):
    """Whether the audit chain is whole. ``first_broken`` is the sequence number where it breaks."""

    ok: bool
    records: int
    checkpoints: int
    first_broken: int | None
    head: str
    root: str
    text: str


class ExportAudit(Request, frozen=True):
    """Where to write the audit trail."""

    positional = ("path",)
    path: Annotated[str, Meta(description="file to write, JSON lines with its checkpoints")]


class AuditRecord(Answer):
    """One record of the audit trail with its links."""

    seq: int
    ts: int
    actor: str
    on_behalf_of: str
    tenant: str
    action: str
    object: str
    request_id: str
    reason: str
    outcome: str
    detail: dict[str, Any]
    prev: str
    hash: str


class OneAuditRecord(Request, frozen=True):
    """Names an audit record."""

    positional = ("seq",)
    seq: int


class CostLine(msgspec.Struct, kw_only=True):
    """What one owner used; amount is None where no price is set."""

    owner: str
    kind: str
    cpu_hours: float
    gpu_hours: float
    amount: float | None


class Cost(Answer):
    """Resource use since ``since`` (µs)."""

    since: int
    currency: str
    priced: bool
    lines: list[CostLine]


identities = listing("identity", "List identities and their roles.", "mlops identity list")
identity_create = operation(
    "identity.create",
    CreateIdentity,
    Done,
    permission="identity:write",
    effect="change",
    help="Give a name a role.",
    example="mlops identity create noor viewer",
)
identity_revoke = operation(
    "identity.revoke",
    OneIdentity,
    Done,
    permission="identity:write",
    effect="change",
    help="Take an identity's role away.",
    example="mlops identity revoke noor",
)
policy_check = operation(
    "policy.check",
    CheckPolicy,
    PolicyVerdict,
    help="Tell whether an identity may do something, and why.",
    example="mlops policy check model:promote",
)
audit = listing("audit", "List the audit trail.", "mlops audit list --sort -seq")
audit_show = operation(
    "audit.show",
    OneAuditRecord,
    AuditRecord,
    help="Show an audit record with its links.",
    example="mlops audit show 12",
)
audit_verify = operation(
    "audit.verify",
    Empty,
    ChainVerdict,
    help="Verify the audit chain and its signed checkpoints.",
    example="mlops audit verify",
)
audit_export = operation(
    "audit.export",
    ExportAudit,
    Done,
    permission="audit:export",
    effect="change",
    help="Write the audit trail to a file.",
    example="mlops audit export audit.jsonl",
)
events = listing("event", "List what happened, newest first.", "mlops event list")
cost_show = operation("cost.show", Empty, Cost, help="Show what jobs and servers used.", example="mlops cost show")
