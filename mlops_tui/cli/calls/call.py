"""Performing an operation for a person: ask when it matters, call, follow the job, print the answer."""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec

from mlops_tui.cli.answers.render import render
from mlops_tui.cli.calls.agree import agree
from mlops_tui.cli.options import Wishes
from mlops_tui.client import Client
from mlops_tui.contracts.agent import Rows
from mlops_tui.contracts.listing import Table
from mlops_tui.contracts.operation import Effect, Operation, Request, Started
from mlops_tui.contracts.run import Comparison
from mlops_tui.core.errors import ExitCode

STARTS_NONE = frozenset(("agent.status", "agent.stop"))
"""Operations that must not start an agent in order to ask it."""


def perform(operation: Operation[Any, Any], request: Request, wishes: Wishes) -> int:
    """Perform an operation and print its answer.

    Returns:
        the exit code.

    Raises:
        MlopsError: what was refused, by us or by the agent.
    """
    began = time.monotonic()
    with connect(wishes, start=operation.name not in STARTS_NONE) as client:
        looks = wishes.dry_run and hasattr(request, "look")
        if looks:  # only a worker can say what would come
            request = msgspec.structs.replace(request, look=True)
        elif operation.effect is Effect.CHANGE and wishes.dry_run:
            render(client.plan(operation, request, reason=wishes.reason), operation.name, wishes)
            return int(ExitCode.OK)
        digest = agree(client, operation, request, wishes) if operation.effect is Effect.CHANGE and not looks else ""
        answer = client.call(operation, request, reason=wishes.reason, digest=digest)
        if isinstance(answer, Started) and not wishes.no_wait:
            from mlops_tui.cli.calls.follow import follow

            answer = follow(client, operation, answer, wishes)
        render(answer, operation.name, wishes)
        _beside(operation, request, answer, wishes)
    if wishes.verbose:
        print(f"{operation.name} took {time.monotonic() - began:.3f} s", file=sys.stderr)
    return _code(answer)


def connect(wishes: Wishes, *, start: bool = True) -> Client:
    """Return a connection to the agent, starting it when it is absent, and pass on what a new agent has to say."""
    client = Client(start=start, timeout=wishes.timeout or 60.0, config=wishes.config)
    if client.hello.notice:
        print(client.hello.notice, file=sys.stderr)
    return client


def _beside(operation: Operation[Any, Any], request: Any, answer: Any, wishes: Wishes) -> None:
    """Say on stderr what is worth knowing beside the answer, and keep names for completion."""
    hint = ""
    if isinstance(answer, Table):
        from mlops_tui.cli.complete import remember

        remember(operation.noun, [column.name for column in answer.columns], answer.rows)
        asked, offset = getattr(request, "filter", ""), getattr(request, "offset", None)
        if not answer.total:
            hint = f"nothing matches {asked!r}" if asked else _nothing(operation.noun)
        elif offset is not None and (end := offset + len(answer.rows)) < answer.total:
            hint = f"{offset + 1}–{end} of {answer.total:,}; --offset {end} shows more"
    elif isinstance(answer, Rows) and answer.truncated:
        hint = f"cut after {len(answer.rows):,} rows; --limit asks for more"
    elif isinstance(answer, Comparison) and not answer.rows:
        hint = "no difference; --all shows what is equal"
    elif isinstance(answer, Started):
        hint = f"mlops job show {answer.job[-8:]}"
    if hint and not wishes.quiet and wishes.format in ("table", "plain", "md"):
        print(hint, file=sys.stderr)


def _nothing(noun: str) -> str:
    """Say that a list is empty, and which command puts something on it."""
    first = {
        "run": "mlops train SCRIPT.py",
        "data": "mlops data add NAME PATH",
        "model": "mlops model register NAME RUN",
        "deploy": "mlops deploy create NAME MODEL@champion",
        "rollout": "mlops rollout start DEPLOYMENT MODEL@VERSION",
        "toggle": "mlops toggle set KEY on",
        "monitor": "mlops monitor add DEPLOYMENT",
        "ab": "mlops ab start DEPLOYMENT A B",
    }.get(noun)
    return f"the list is empty; {first} begins one" if first else "the list is empty"


def _code(answer: Any) -> int:
    """Return the exit code of an answer: a question whose answer is no is not a success."""
    result = answer.get("result") if isinstance(answer, dict) else answer
    for name, code in (("passed", ExitCode.REFUSED), ("allowed", ExitCode.REFUSED), ("ok", ExitCode.FAILURE)):
        verdict = result.get(name) if isinstance(result, dict) else getattr(result, name, None)
        if verdict is False:
            return int(code)
    return int(ExitCode.OK)
