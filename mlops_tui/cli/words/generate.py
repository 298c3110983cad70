"""An operation's declaration, made into a command: fields become arguments and flags, its words become the help."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import msgspec
from msgspec import inspect as shape

from mlops_tui.cli.complete import names_for
from mlops_tui.cli.options import Wishes, common, take_wishes
from mlops_tui.cli.words.load import SETTINGS
from mlops_tui.cli.words.told import Told
from mlops_tui.contracts.operation import Effect, File, Kind, Operation

PATHS = frozenset(("path", "checks", "script", "policy", "folder", "tls_cert", "tls_key", "tls_client_ca"))
"""Fields that name a file of the caller: made absolute before they travel, the agent stands elsewhere."""
TEXTS = frozenset(("file",))
"""Fields whose value is a file's text: a command line is given the file, ``-`` is what is piped in."""
_SHORT = {"file": "-f", "limit": "-n", "lines": "-n"}
"""Flags that people type short in every tool."""


def command_for(operation: Operation[Any, Any], name: str = "") -> click.Command:
    """Return the command of an operation.

    Args:
        operation: its declaration.
        name: name of the command; default, its verb.
    """
    fields = {field.name: field for field in msgspec.structs.fields(operation.request)}
    order = [fields.pop(given) for given in operation.request.positional] + list(fields.values())
    change, file = operation.effect is Effect.CHANGE, issubclass(operation.answer, File)
    params: list[click.Parameter] = [_parameter(operation, field) for field in order]

    def call(**values: Any) -> int:
        wishes = take_wishes(values, tuple(sys.argv[1:]))
        if "form" in fields and not values["form"]:
            values["form"] = _form(fields["form"], wishes)
        request = request_from(operation, values)
        from mlops_tui.cli.calls.call import perform

        return perform(operation, request, wishes)

    command = Told(
        name or operation.verb,
        callback=call,
        params=[*params, *common(change=change, job=operation.kind is Kind.JOB, file=file)],
        help=_help(operation),
        epilog=f"\b\nExample:\n  {operation.example}" if operation.example else None,
        short_help=operation.help,
        context_settings=SETTINGS,
    )
    command.argument_help = {field.name: _said(field) for field in order}
    return command


def _form(field: Any, wishes: Wishes) -> str | None:
    """Return the form of a file that the name of its target or ``-o`` asks for; None: the operation's own."""
    if wishes.to:
        return Path(wishes.to).suffix.removeprefix(".") or None
    return wishes.output if wishes.output in get_args(_type(field)) else None


def request_from(operation: Operation[Any, Any], values: Mapping[str, Any]) -> Any:
    """Return the request that a command's values make; what was not given keeps the contract's default.

    Raises:
        UsageError: a value breaks a constraint of the contract, or KEY=VALUE has no ``=``.
    """
    given = {}
    for field in msgspec.structs.fields(operation.request):
        value = values.get(field.name)
        if value is None or value == ():
            continue
        if _of(field) is dict:
            value = dict(_pair(operation, field.name, one) for one in value)
        elif isinstance(value, tuple):
            value = list(value)
        elif field.name in PATHS and value:
            value = _absolute(field.name, value)
        elif field.name in TEXTS and value:
            value = _text(value)
        given[field.name] = value
    try:
        return msgspec.convert(given, operation.request)
    except msgspec.ValidationError as error:
        raise click.UsageError(_readable(operation, str(error)), click.get_current_context(silent=True)) from None


def _parameter(operation: Operation[Any, Any], field: Any) -> click.Parameter:
    kind, said = _of(field), _said(field)
    many = kind in (list, dict)
    settings: dict[str, Any] = {"type": _click_type(field), "shell_complete": names_for(operation.noun, field.name)}
    if kind is dict:
        settings["metavar"] = "KEY=VALUE"
    if field.name in operation.request.positional:
        metavar = _argument(operation, field)
        return click.Argument(
            [field.name], nargs=-1 if many else 1, required=field.required, **{**settings, "metavar": metavar}
        )
    flag = "--" + field.name.replace("_", "-")
    if kind is bool:
        names = f"{flag}/--no-{flag[2:]}" if field.default is True else flag
        return click.Option([names, field.name], is_flag=True, default=None, help=said)
    shown = _default(field)
    told = "; ".join(
        part for part in (said, f"default {shown}" if shown else "", "may be repeated" if many else "") if part
    )
    names = [_SHORT[field.name], flag] if field.name in _SHORT else [flag]
    return click.Option([*names, field.name], required=field.required, multiple=many, help=told, **settings)


def _help(operation: Operation[Any, Any]) -> str:
    return f"{operation.help}\n\nOperation {operation.name} ({operation.effect}), permission {operation.permission}."


def _argument(operation: Operation[Any, Any], field: Any) -> str:
    name = "KEY=VALUE" if _of(field) is dict else field.name.upper()
    name += "…" if _of(field) in (list, dict) else ""
    return name if field.required else f"[{name}]"


def _type(field: Any) -> Any:
    """Return a field's type without its metadata and without ``| None``."""
    kind = field.type
    while hasattr(kind, "__metadata__"):
        kind = get_args(kind)[0]
    if type(None) in get_args(kind):
        kind = next(one for one in get_args(kind) if one is not type(None))
    return kind


def _of(field: Any) -> Any:
    return get_origin(_type(field)) or _type(field)


def _click_type(field: Any) -> Any:
    kind = _of(field)
    inner = get_args(_type(field))[0] if kind is list else kind
    return {int: click.INT, float: click.FLOAT}.get(inner, click.STRING)


def _said(field: Any) -> str:
    """Return what the contract says of a field: its description and its bounds."""
    kind = shape.type_info(field.type)
    said = ""
    if isinstance(kind, shape.Metadata):
        said, kind = str((kind.extra_json_schema or {}).get("description", "")), kind.type
    bounds = []
    for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
        if (bound := getattr(kind, name, None)) is not None:
            bounds.append(f"{sign} {bound:g}")
    return "; ".join(part for part in (said, ", ".join(bounds)) if part)


def _default(field: Any) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
        return " ".join(str(one) for one in value) if value else ""
    return "" if field.default in (msgspec.NODEFAULT, None, "") else str(field.default)


def _pair(operation: Operation[Any, Any], field: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"{field}: {text!r} is not KEY=VALUE", click.get_current_context(silent=True))
    return key, value


def _absolute(field: str, given: str) -> str:
    path = Path(given).expanduser()
    if field == "script" and not path.exists():
        return given  # a program on PATH
    return str(path.absolute())


def _text(given: str) -> str:
    """Return what a file of the caller says."""
    try:
        return sys.stdin.read() if given == "-" else Path(given).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise click.UsageError(f"{given} cannot be read: {why}", click.get_current_context(silent=True)) from None


_LENGTH = re.compile(r"[Ll]ength `?([<>]=?)`? ?`?(\d+)")


def _readable(operation: Operation[Any, Any], complaint: str) -> str:
    """Turn ``Expected `int` <= 10000 - at `$.limit` `` into words about the flag."""
    text, _, place = complaint.rpartition(" - at `$.")
    field, _, rest = place.rstrip("`").partition("[")
    if not text:
        return complaint
    if bounds := _LENGTH.search(text):
        number = int(bounds[2]) + {"<": -1, ">": 1}.get(bounds[1], 0)
        text = f"takes {number} at {'least' if bounds[1].startswith('>') else 'most'}"
    shown = field.upper() if field in operation.request.positional else "--" + field.replace("_", "-")
    return f"{shown}{'[' + rest if rest else ''}: {text[:1].lower() + text[1:]}".replace("`", "")
