"""The one path of every call: decode, ask the guard, plan or read, apply, audit, publish."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mlops_tui.contracts.operation import Answer, Effect, Kind, Operation, Plan, Request, Started, find
from mlops_tui.core.errors import BadInput, Conflict, MlopsError, NotAllowed, Refused
from mlops_tui.door.context import Caller, Context, act
from mlops_tui.door.registry import IMPLEMENTATIONS, LIMITS_S

if TYPE_CHECKING:
    from mlops_tui.door.house import House
    from mlops_tui.store.session import Session

Req = TypeVar("Req", bound=Request)
Ans = TypeVar("Ans", bound=Answer)


@dataclass(frozen=True)
class Wish:
    """How a change is wanted: only its plan, or only if the plan is still the one that was seen."""

    dry_run: bool = False
    digest: str = ""


def decode(operation: Operation[Any, Any], body: bytes) -> Request:
    """Read a request from JSON.

    Raises:
        BadInput: it does not fit the operation's request type.
    """
    try:
        request: Request = msgspec.json.decode(body or b"{}", type=operation.request)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise BadInput(
            f"{operation.name} cannot read its request", str(error), f"mlops spec {operation.name}"
        ) from error
    return request


def ask(house: House, operation: Operation[Req, Ans], request: Req, caller: Caller | None = None) -> Ans:
    """Perform an operation from inside the house, by default as the agent itself."""
    answer = perform(house, operation.name, request, caller or Caller.system())
    return answer  # type: ignore[return-value]


def perform(house: House, name: str, request: Request, caller: Caller, wish: Wish | None = None) -> Answer | Plan:
    """Perform one call and return its answer, or its plan for a dry run.

    Raises:
        BadInput: no such operation.
        NotAllowed: the guard said no; for a change that is written down.
        MlopsError: whatever the room raises; nothing of the call remains.
    """
    operation = find(name)
    code = IMPLEMENTATIONS.get(name)
    if code is None:
        raise BadInput(f"{name} is not available in this agent", "its room is not loaded", "mlops agent status")
    if operation.effect is Effect.CHANGE:
        return _change(house, operation, code, request, caller, wish or Wish())
    with house.store.read(LIMITS_S[name]) as session:
        house.guard.check(session, caller, operation.permission)
        answer: Answer = code(Context(house, caller, session), request)
        return answer


def _change(
    house: House, operation: Operation[Any, Any], code: Any, request: Request, caller: Caller, wish: Wish
) -> Answer | Plan:
    def work(ctx: Context) -> Answer | Plan:
        house.guard.check(ctx.session, caller, operation.permission)
        if (earlier := _answered(ctx.session, operation, caller)) is not None:
            return earlier
        plan: Plan = code.plan(ctx, request).sealed(request)
        if wish.dry_run:
            return plan
        _still_wanted(house, plan, wish)
        answer: Answer = code.apply(ctx, request, plan)
        house.guard.record(ctx, operation, plan, "done")
        _remember(ctx, operation, answer)
        return answer

    try:
        return act(house, caller, work)
    except (NotAllowed, Refused) as error:
        _write_down(house, operation, request, caller, error)
        raise


def _answered(session: Session, operation: Operation[Any, Any], caller: Caller) -> Answer | None:
    """Return the answer of an earlier call with this request id: a retry does nothing twice."""
    found = session.row("SELECT operation, actor, answer FROM request WHERE id = ?", [caller.request_id])
    if found is None:
        return None
    if found[:2] != (operation.name, caller.name):
        raise Conflict("this request id was used for another call", f"it belongs to {found[0]}", "use a new request id")
    answer: Answer = msgspec.json.decode(found[2], type=Started if operation.kind is Kind.JOB else operation.answer)
    return answer


def _still_wanted(house: House, plan: Plan, wish: Wish) -> None:
    if house.config.get("readonly"):
        raise NotAllowed("this agent is read-only", "readonly is set", "mlops config show --origin says where")
    if wish.digest and wish.digest != plan.digest:
        raise Conflict(
            "the plan has changed since it was shown",
            "something else was changed in between",
            "look at the new plan and confirm again",
        )


def _remember(ctx: Context, operation: Operation[Any, Any], answer: Answer) -> None:
    body = msgspec.json.encode(answer).decode()
    ctx.session.insert(
        "request", id=ctx.caller.request_id, operation=operation.name, actor=ctx.caller.name, answer=body, ts_us=ctx.now
    )


def _write_down(
    house: House, operation: Operation[Any, Any], request: Request, caller: Caller, error: MlopsError
) -> None:
    """Put a refusal into the audit trail, in a transaction of its own."""
    # There may be no plan that names the object: what was asked for is what the call's first word says.
    subject = f"{operation.noun}:{getattr(request, request.positional[0])}" if request.positional else operation.noun
    refused = Plan(operation=operation.name, object=subject, text=str(error))
    # The caller must hear the refusal even when it cannot be written down (a full disk).
    with contextlib.suppress(Exception):
        act(house, caller, lambda ctx: house.guard.record(ctx, operation, refused, "refused"))
