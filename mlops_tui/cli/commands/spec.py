"""``mlops spec``: the command line and the door, for programs."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from mlops_tui import __version__
from mlops_tui.cli.answers.render import render
from mlops_tui.cli.options import Wishes
from mlops_tui.cli.words.generate import command_for
from mlops_tui.contracts.operation import OPERATIONS, PROTOCOL, Kind, Operation, Started, find
from mlops_tui.core.errors import ExitCode

_REF = "#/schemas/{name}"


def spec(
    ctx: typer.Context,
    operation: Annotated[str, typer.Argument(help="one operation, for example run.show; default: all")] = "",
) -> None:
    """Describe every operation for programs.

    With --json each one carries the JSON schema of its request and answer.

    Example: mlops spec run.list
    """
    import mlops_tui.contracts  # noqa: F401  (fills the table)

    wishes: Wishes = ctx.obj
    wanted = [find(operation)] if operation else list(OPERATIONS.values())
    if wishes.format in ("json", "jsonl"):
        render(document(wanted), "spec", wishes)
    elif operation:
        render({**_facts(wanted[0]), "fields": _fields(wanted[0])}, "spec", wishes)
    else:
        render({"operations": [_facts(one) for one in wanted if not one.internal]}, "spec", wishes)


def document(wanted: list[Operation[Any, Any]]) -> dict[str, Any]:
    """Return operations with JSON schemas, and the exit codes."""
    types = [kind for one in wanted for kind in (one.request, Started if one.kind is Kind.JOB else one.answer)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    return {
        "version": __version__,
        "protocol": PROTOCOL,
        "operations": [
            {**_facts(one), "request": schemas[2 * i], "answer": schemas[2 * i + 1]} for i, one in enumerate(wanted)
        ],
        "schemas": components,
        "exit_codes": {str(int(code)): code.meaning for code in ExitCode},
    }


def _facts(operation: Operation[Any, Any]) -> dict[str, Any]:
    usage = "" if operation.internal else " ".join(["mlops", operation.noun, *_usage(operation)])
    return {
        "operation": operation.name,
        "effect": operation.effect.value,
        "kind": operation.kind.value,
        "permission": operation.permission,
        "help": operation.help,
        "usage": usage,
        "example": operation.example,
        "internal": operation.internal,
    }


def _usage(operation: Operation[Any, Any]) -> list[str]:
    command = command_for(operation)
    context = typer.Context(command, info_name=operation.verb)
    return [operation.verb, *(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")]


def _fields(operation: Operation[Any, Any]) -> list[dict[str, Any]]:
    command = command_for(operation)
    own = {field.name for field in msgspec.structs.fields(operation.request)}
    return [
        {
            "field": param.name,
            "given as": ", ".join(param.opts) if param.param_type_name == "option" else str(param.metavar),
            "required": param.required,
            "help": getattr(param, "help", None) or "",
        }
        for param in command.params
        if param.name in own
    ]
