"""One value as text: by the kind that its column declares, for eyes, for screen readers, or whole for programs."""

from __future__ import annotations

import json
from typing import Any

from mlops_tui.core import clock, figures
from mlops_tui.core.figures import NONE
from mlops_tui.core.ids import opaque, short, shortened
from mlops_tui.core.printable import clean
from mlops_tui.core.states import SYMBOLS, tone
from mlops_tui.core.states import spoken as said

COLORS = {"ok": "green", "warn": "yellow", "fail": "red", "busy": "cyan", "dim": "bright_black", "unknown": ""}
_DIGITS = 4


def says(value: Any) -> bool:
    """Tell whether a value says anything in a table."""
    return value not in (None, "", False) and value != []


def shown(kind: str, value: Any) -> str:
    """Return a value for a table on a screen: short, rounded, with its symbol."""
    if value is None or value == "" or value == []:
        return NONE
    match kind:
        case "id":
            return short(value) if opaque(value) else clean(str(value))
        case "digest":
            return clean(str(value))[:12]
        case "status":
            return f"{SYMBOLS[tone(str(value))]} {clean(said(str(value)))}"
        case "flag":
            return "✔" if value else "·"
        case "time":
            return figures.when(int(value))
        case "spark":
            return figures.spark(value) or NONE
        case "text" if isinstance(value, str):
            return clean(shortened(value))
        case _:
            return _figure(kind, value)


def spoken(kind: str, value: Any) -> str:
    """Return a value without symbols, for screen readers and ``-o plain``."""
    if value is None or value == "" or value == []:
        return "none"
    match kind:
        case "time":
            return clock.iso(int(value)) if value else "none"
        case "flag":
            return "yes" if value else "no"
        case "id" | "status":
            return clean(str(value))
        case "spark":
            known = [one for one in value if one is not None]
            ends = [figures.number(one, _DIGITS) for one in (*known[:1], *known[-1:])]
            return f"{' to '.join(ends)} in {len(known)} points" if known else "none"
        case _:
            return _figure(kind, value)


def whole(kind: str, value: Any) -> str:
    """Return a value with nothing lost, for CSV: every digit, times as ISO 8601, lists as JSON."""
    if value is None:
        return ""
    if kind == "time" and isinstance(value, int):
        return clock.iso(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _figure(kind: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        match kind:
            case "percent":
                return figures.percent(value)
            case "share":
                return figures.share(value)
            case "bytes":
                return figures.size(value)
            case "duration":
                return figures.duration(value)
            case "hours":
                return figures.duration(clock.HOUR * value)
            case "rate":
                return f"{figures.size(value)}/s"
            case "id":
                return str(value)
            case _:
                return figures.number(value, _DIGITS)
    if isinstance(value, list):
        return ", ".join(_figure("", one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{clean(str(key))}={_figure('', one)}" for key, one in value.items())
    return NONE if value is None else clean(str(value))
