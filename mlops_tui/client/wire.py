"""What travels: headers of a call, and answers or errors read back into their types."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import msgspec

from mlops_tui.contracts.operation import OPERATIONS, Answer, Effect, Kind, Operation, Plan, Request, Started, find
from mlops_tui.core.errors import BadInput, MlopsError, from_record
from mlops_tui.core.ids import uuid7

Ans = TypeVar("Ans", bound=Answer)

ATTEMPTS = 4
"""How often a call is sent when one agent after the other dies before it answers."""
REQUEST_ID, DRY_RUN, DIGEST, REASON, CWD, TENANT = (
    "x-request-id",
    "x-mlops-dry-run",
    "x-mlops-plan",
    "x-mlops-reason",
    "x-mlops-cwd",
    "x-mlops-tenant",
)


class ErrorBody(msgspec.Struct):
    """How an error travels."""

    error: dict[str, Any]


def operation_of(name: str | Operation[Any, Any]) -> Operation[Any, Any]:
    """Return the operation, loading the whole table when only its name is known."""
    if isinstance(name, Operation):
        return name
    if not OPERATIONS or name not in OPERATIONS:
        import mlops_tui.contracts  # noqa: F401  (fills the table)
    return find(name)


def encode(operation: Operation[Any, Any], request: Request | dict[str, Any] | None) -> bytes:
    """Return the request's JSON; a dictionary is checked against the request type first.

    Raises:
        BadInput: the dictionary does not fit.
    """
    if request is None:
        request = operation.request()
    elif isinstance(request, dict):
        try:
            request = msgspec.convert(request, operation.request)
        except msgspec.ValidationError as error:
            raise BadInput(
                f"{operation.name}: {error}", "", f"mlops {operation.noun} {operation.verb} --help"
            ) from error
    return msgspec.json.encode(request)


def headers(*, dry_run: bool, digest: str, reason: str, request_id: str, tenant: str) -> dict[str, str]:
    """Return the headers that carry a call's context."""
    from urllib.parse import quote

    found = {
        REQUEST_ID: request_id or uuid7(),
        CWD: quote(os.getcwd()),
        "content-type": "application/json",
        "host": "localhost",
    }
    if dry_run:
        found[DRY_RUN] = "1"
    if digest:
        found[DIGEST] = digest
    if reason:
        found[REASON] = quote(reason)
    if tenant:
        found[TENANT] = tenant
    return found


def failure(status: int, body: bytes) -> MlopsError:
    """Return the error that an answer carries."""
    try:
        return from_record(msgspec.json.decode(body, type=ErrorBody).error)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return MlopsError(f"the agent answered {status}", body[:300].decode(errors="replace"), "mlops agent log")


def decode(operation: Operation[Any, Any], status: int, body: bytes, dry_run: bool) -> Any:
    """Return the typed answer (or plan) of a call.

    Raises:
        MlopsError: the error that the agent sent.
    """
    if status >= 400:
        raise failure(status, body)
    if dry_run and operation.effect is Effect.CHANGE:
        return msgspec.json.decode(body, type=Plan)
    return msgspec.json.decode(body, type=Started if operation.kind is Kind.JOB else operation.answer)
