"""What can go wrong, said the same way everywhere: what happened, why, what to do, and an exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Every exit code of every command; ``mlops --help`` lists them."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    REFUSED = 3
    AUTH = 4
    NOT_FOUND = 5
    CONFLICT = 6
    UNREACHABLE = 7
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "ok",
    ExitCode.FAILURE: "failure",
    ExitCode.USAGE: "usage error or bad input",
    ExitCode.REFUSED: "a gate or a policy said no",
    ExitCode.AUTH: "key, authentication or permission",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.CONFLICT: "conflict or locked store",
    ExitCode.UNREACHABLE: "agent or remote unreachable",
    ExitCode.INTERRUPTED: "interrupted",
}


class MlopsError(Exception):
    """A failure that a person can act on.

    Args:
        what: one sentence, what happened.
        why: the reason as far as it is known; may be empty.
        fix: what to do next, ideally a command to type; may be empty.
    """

    exit_code = ExitCode.FAILURE
    code = "MLOPS-E0001"

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        return " · ".join(part for part in (self.what, self.why, self.fix) if part)

    def record(self) -> dict[str, str | int]:
        """Return the error as it travels over the door."""
        return {
            "code": self.code,
            "exit_code": int(self.exit_code),
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
        }


class BadInput(MlopsError):
    """What the caller gave cannot be used."""

    exit_code, code = ExitCode.USAGE, "MLOPS-E0200"


class Refused(MlopsError):
    """A gate, a policy or a safety rule said no."""

    exit_code, code = ExitCode.REFUSED, "MLOPS-E0300"


class NotAllowed(MlopsError):
    """The caller may not do this, or a key is missing."""

    exit_code, code = ExitCode.AUTH, "MLOPS-E0400"


class NotFound(MlopsError):
    """No object of that name."""

    exit_code, code = ExitCode.NOT_FOUND, "MLOPS-E0500"


class Conflict(MlopsError):
    """The object is not in the state that the call needs."""

    exit_code, code = ExitCode.CONFLICT, "MLOPS-E0600"


class StoreTooNew(Conflict):
    """The store was written by a newer program."""

    code = "MLOPS-E0601"


class StoreLocked(Conflict):
    """Another process owns the store."""

    code = "MLOPS-E0602"


class AlreadyExists(Conflict):
    """An object of that name exists, perhaps deleted."""

    code = "MLOPS-E0603"


class Unreachable(MlopsError):
    """The agent or a remote does not answer."""

    exit_code, code = ExitCode.UNREACHABLE, "MLOPS-E0700"


_BY_CODE: dict[str, type[MlopsError]] = {}


def from_record(record: dict[str, str | int]) -> MlopsError:
    """Rebuild an error that came over the door; unknown codes keep their words and exit code."""
    if not _BY_CODE:
        pending = [MlopsError]
        while pending:
            kind = pending.pop()
            _BY_CODE[kind.code] = kind
            pending.extend(kind.__subclasses__())
    kind = _BY_CODE.get(str(record.get("code")), MlopsError)
    error = kind(str(record.get("what", "")), str(record.get("why", "")), str(record.get("fix", "")))
    error.exit_code = ExitCode(int(record.get("exit_code", kind.exit_code)))
    return error
