"""Where rooms register what they do: operations, spool records they absorb, and schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mlops_tui.contracts.operation import Answer, Effect, Operation, Plan, Request
from mlops_tui.store.store import READ_LIMIT_S

if TYPE_CHECKING:
    from mlops_tui.door.context import Context
    from mlops_tui.door.house import House
    from mlops_tui.store.session import Session

Req = TypeVar("Req", bound=Request, contravariant=True)
Ans = TypeVar("Ans", bound=Answer, covariant=True)


class Changer(Protocol[Req, Ans]):
    """A change: ``plan`` looks and says what would happen, ``apply`` does it in the same transaction."""

    def plan(self, ctx: Context, request: Req) -> Plan:
        """Return what would change; touches nothing."""

    def apply(self, ctx: Context, request: Req, plan: Plan) -> Ans:
        """Make the change."""


Reading = Callable[["Context", Any], Any]
Absorber = Callable[["Context", str, list[Any]], None]
Preparer = Callable[["House", str, list[Any]], None]
PointAbsorber = Callable[["Context", Mapping[str, Any]], None]
SegmentAbsorber = Callable[["Context", str, Any], None]
KeepsAwake = Callable[["Session"], bool]

IMPLEMENTATIONS: dict[str, Any] = {}
LIMITS_S: dict[str, float] = {}
ABSORBERS: dict[str, list[Absorber]] = {}
PREPARERS: dict[str, list[Preparer]] = {}
POINT_ABSORBERS: list[PointAbsorber] = []
SEGMENT_ABSORBERS: list[SegmentAbsorber] = []
AWAKE: list[KeepsAwake] = []
REFERRERS: list[str] = []
SCHEDULES: dict[str, Schedule] = {}

Made = TypeVar("Made")


def implements(operation: Operation[Any, Any], *, limit_s: float = READ_LIMIT_S) -> Callable[[Made], Made]:
    """Register the code of an operation.

    A read or append is a function ``(ctx, request) -> answer``; a change is a class with ``plan`` and ``apply``.

    Args:
        operation: its declaration.
        limit_s: seconds after which what a read or append asks the store is given up.
    """

    def register(made: Made) -> Made:
        if operation.name in IMPLEMENTATIONS:
            raise ValueError(f"{operation.name} is implemented twice")
        if operation.effect is Effect.CHANGE:
            if not (hasattr(made, "plan") and hasattr(made, "apply")):
                raise TypeError(f"{operation.name} is a change: it needs plan and apply")
            IMPLEMENTATIONS[operation.name] = made()  # type: ignore[operator]
        else:
            IMPLEMENTATIONS[operation.name] = made
            LIMITS_S[operation.name] = limit_s
        return made

    return register


def absorbs(*events: str) -> Callable[[Absorber], Absorber]:
    """Register who takes spool records of these kinds into the store.

    The function gets the context of the ingesting transaction, the owner of the spool file and the records of one
    kind (types of ``spool.records``) in file order. Metrics come otherwise: :func:`absorbs_points`.
    """

    def register(absorber: Absorber) -> Absorber:
        for event in events:
            ABSORBERS.setdefault(event, []).append(absorber)
        return absorber

    return register


def prepares(event: str) -> Callable[[Preparer], Preparer]:
    """Register slow work that must be done before records of a kind are absorbed.

    The function gets house, owner and records on the ingesting thread, outside any transaction, so that the writer does
    not wait for it. It may be called again with the same records.
    """

    def register(preparer: Preparer) -> Preparer:
        PREPARERS.setdefault(event, []).append(preparer)
        return preparer

    return register


def absorbs_points(absorber: PointAbsorber) -> PointAbsorber:
    """Register who looks at metrics (``spool.reader.Points`` by owner) that the ingestor has appended to the series.

    What clients log to many runs comes at once, so that a hundred runs cost hardly more than one.
    """
    POINT_ABSORBERS.append(absorber)
    return absorber


def absorbs_segments(absorber: SegmentAbsorber) -> SegmentAbsorber:
    """Register who takes batches of logged predictions (``serving.segments.Batch``) of a deployment."""
    SEGMENT_ABSORBERS.append(absorber)
    return absorber


def keeps_awake(ask: KeepsAwake) -> KeepsAwake:
    """Register a question whose yes keeps the agent from leaving when idle: jobs running, models served."""
    AWAKE.append(ask)
    return ask


def refers(sql: str) -> None:
    """Register a query that yields the digests of artifacts which a room still needs: what none names is removed.

    ``$gone`` in it stands for the ids of the runs and logged models that are about to be removed.
    """
    REFERRERS.append(sql)


@dataclass(frozen=True)
class Schedule:
    """Work that the agent does by itself every few seconds, on a thread of its own, never twice at once."""

    name: str
    seconds: float
    work: Callable[[House], None]


def every(seconds: float, name: str) -> Callable[[Callable[[House], None]], Callable[[House], None]]:
    """Register a schedule. Reconcilers are level-triggered: they look at what is and what should be, each time."""

    def register(work: Callable[[House], None]) -> Callable[[House], None]:
        if name in SCHEDULES:
            raise ValueError(f"schedule {name} is registered twice")
        SCHEDULES[name] = Schedule(name, seconds, work)
        return work

    return register
