"""MLflow's error shape, and how our errors are said in it."""

from __future__ import annotations

from mlops_tui.core.errors import (
    AlreadyExists,
    BadInput,
    Conflict,
    MlopsError,
    NotAllowed,
    NotFound,
    Refused,
    Unreachable,
)

STATUS = {
    "INVALID_PARAMETER_VALUE": 400,
    "BAD_REQUEST": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "INVALID_STATE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "RESOURCE_CONFLICT": 409,
    "RANGE_NOT_SATISFIABLE": 416,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL_ERROR": 500,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
}
"""HTTP status by error code. MLflow's own 500 for INVALID_STATE would make its client try again for minutes."""

_KINDS: tuple[tuple[type[MlopsError], str], ...] = (
    (AlreadyExists, "RESOURCE_ALREADY_EXISTS"),
    (NotFound, "RESOURCE_DOES_NOT_EXIST"),
    (BadInput, "INVALID_PARAMETER_VALUE"),
    (NotAllowed, "PERMISSION_DENIED"),
    (Refused, "BAD_REQUEST"),
    (Conflict, "INVALID_STATE"),
    (Unreachable, "TEMPORARILY_UNAVAILABLE"),
)


class WireError(Exception):
    """An answer other than 200: MLflow's error code and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def invalid(message: str) -> WireError:
    """Return the error for a value that cannot be used."""
    return WireError("INVALID_PARAMETER_VALUE", message)


def missing(what: str) -> WireError:
    """Return the error for an object that is not there."""
    return WireError("RESOURCE_DOES_NOT_EXIST", what)


def translated(error: MlopsError) -> WireError:
    """Return one of our errors as MLflow's clients know them."""
    code = next((code for kind, code in _KINDS if isinstance(error, kind)), "INTERNAL_ERROR")
    return WireError(code, str(error))
