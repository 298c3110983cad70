"""The grammar of the door: what an operation is, what a plan is, and the table of all of them.

A capability is declared once, here. From the declaration come the HTTP route, validation, permission
check, audit record, event, typed client call and CLI command.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from mlops_tui.core.errors import BadInput
from mlops_tui.core.jsonx import canonical

PROTOCOL = 1
"""Version of the door's language; an agent serves its own and the one before."""


class Effect(StrEnum):
    """What a call may do to the store."""

    READ = "read"
    APPEND = "append"
    CHANGE = "change"


class Kind(StrEnum):
    """How an answer comes: at once, or as a job whose id is followed."""

    UNARY = "unary"
    JOB = "job"


class Request(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of every request. ``positional`` names the fields that a command line gives without a flag."""

    positional: ClassVar[tuple[str, ...]] = ()


class Answer(msgspec.Struct, kw_only=True):
    """Base of every answer."""


class Empty(Request, frozen=True):
    """A request that says nothing more."""


class Done(Answer):
    """A change was made; ``object`` is what a person would name it."""

    object: str
    text: str


class Started(Answer):
    """Long work has begun; follow ``job`` with ``job.show`` and the feed."""

    job: str
    text: str


class File(Answer):
    """A file for the caller, ``name`` is what it might be called; a command line writes it where ``--to`` says."""

    name: str
    content: bytes


class Change(msgspec.Struct, kw_only=True):
    """One line of a plan: this field of this object goes from before to after."""

    object: str
    field: str
    before: Any = None
    after: Any = None


class Plan(msgspec.Struct, kw_only=True):
    """What a call would do. Pure data: shown in dialogs, hashed for approvals, handed to ``apply``.

    ``environment`` is that of the object, where it has one: a change in ``prod`` wants its name typed. ``passing``
    names fields of changes that are figures of the moment, such as today's traffic: nobody agrees to those. ``data``
    carries what ``plan`` looked up and ``apply`` needs; it never leaves the agent.
    """

    operation: str
    object: str
    text: str
    changes: list[Change] = []
    warnings: list[str] = []
    approvals: int = 0
    digest: str = ""
    cli: str = ""
    environment: str = ""
    passing: list[str] = []
    data: dict[str, Any] = {}

    def sealed(self, request: Request) -> Plan:
        """Return the plan with its digest: SHA-256 over operation, request and all changes but passing figures."""
        agreed = [one for one in self.changes if one.field not in self.passing]
        body = [self.operation, msgspec.to_builtins(request), msgspec.to_builtins(agreed)]
        self.digest = hashlib.sha256(canonical(body)).hexdigest()
        return self


Req = TypeVar("Req", bound=Request)
Ans = TypeVar("Ans", bound=Answer)


@dataclass(frozen=True)
class Operation(Generic[Req, Ans]):
    """One capability: its name (``noun.verb``), types, permission, effect and words."""

    name: str
    request: type[Req]
    answer: type[Ans]
    permission: str
    effect: Effect
    kind: Kind
    help: str
    example: str
    internal: bool

    @property
    def noun(self) -> str:
        return self.name.partition(".")[0]

    @property
    def verb(self) -> str:
        return self.name.partition(".")[2]


OPERATIONS: dict[str, Operation[Any, Any]] = {}


def operation(
    name: str,
    request: type[Req],
    answer: type[Ans],
    *,
    permission: str = "",
    effect: str = "read",
    kind: str = "unary",
    help: str,
    example: str = "",
    internal: bool = False,
) -> Operation[Req, Ans]:
    """Declare an operation and enter it in the table.

    Args:
        name: ``noun.verb``.
        request: type of the request.
        answer: type of the answer; for ``kind="job"`` it is :class:`Started`.
        permission: ``noun:verb`` that a role must grant; default, read or write of the noun.
        effect: ``read``, ``append`` or ``change``.
        kind: ``unary`` or ``job``.
        help: one sentence for ``--help``, palette and OpenAPI.
        example: a command line that works in the sample project.
        internal: called by our own workers only; it has no CLI command.
    """
    if name in OPERATIONS:
        raise ValueError(f"operation {name} is declared twice")
    noun = name.partition(".")[0]
    permission = permission or f"{noun}:{'read' if effect == 'read' else 'write'}"
    made = Operation(name, request, answer, permission, Effect(effect), Kind(kind), help, example, internal)
    OPERATIONS[name] = made
    return made


def find(name: str) -> Operation[Any, Any]:
    """Return the operation of that name.

    Raises:
        BadInput: there is none.
    """
    try:
        return OPERATIONS[name]
    except KeyError:
        raise BadInput(f"there is no operation {name!r}", "", "mlops spec lists them all") from None
