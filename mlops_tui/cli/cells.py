"""One value as text: by the kind that its column declares, for eyes, for screen readers, or whole for programs."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from mlops_tui.core import clock
from mlops_tui.core.ids import short

NONE = "–"
RIGHT = frozenset(("int", "float", "percent", "bytes", "duration", "rate", "hours"))
_BLOCKS = "▁▂▃▄▅▆▇█"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")

SYMBOLS = {"ok": "✔", "warn": "!", "fail": "✖", "busy": "↻", "dim": "·", "unknown": "?"}
COLORS = {"ok": "green", "warn": "yellow", "fail": "red", "busy": "cyan", "dim": "bright_black", "unknown": ""}
_STATES = {
    "ok": "ok done succeeded passed pass healthy ready serving active verified promoted resolved stable safe accepted "
    "allowed finished trusted loaded builtin whole better up info live applied",
    "warn": "warn warning held holding paused acknowledged silenced pending waiting proposed degraded changed too_few "
    "untrusted",
    "fail": "fail failed error open drift harm harmful rolledback rolled-back broken refused unhealthy lost killed "
    "denied critical high worse down",
    "busy": "busy running queued starting shifting baking provisioning gating shadowing promoting rollingback stopping "
    "canary shadow preempted collecting",
    "dim": "retired superseded removed stopped aborted inactive dismissed ended deleted none off skipped",
}
_TONE = {word: tone for tone, words in _STATES.items() for word in words.split()}


def clean(text: str) -> str:
    """Return text from elsewhere without what could move a cursor or turn the reading direction."""
    if text.isprintable():
        return text
    return "".join(" " if c in "\n\t" else c for c in text if c in "\n\t" or unicodedata.category(c) not in _UNSAFE)


def tone(state: Any) -> str:
    """Return ``ok``, ``warn``, ``fail``, ``busy``, ``dim`` or ``unknown`` for a state's word."""
    return _TONE.get(str(state).lower(), "unknown")


def shown(kind: str, value: Any) -> str:
    """Return a value for a table on a screen: short, rounded, with its symbol."""
    if value is None or value == "" or value == []:
        return NONE
    match kind:
        case "id":
            return short(str(value)) if _UUID.fullmatch(str(value)) else clean(str(value))
        case "status":
            return f"{SYMBOLS[tone(value)]} {clean(str(value))}"
        case "flag":
            return "✔" if value else "·"
        case "time":
            return _ago(int(value)) if value else NONE
        case "spark":
            return spark(value)
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
            return f"{number(known[0])} to {number(known[-1])} in {len(known)} points" if known else "none"
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


def number(value: float | int, digits: int = 4) -> str:
    """Return a figure with ``digits`` significant digits, thousands with commas."""
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-4:
        return f"{value:.{digits - 1}e}"
    if size >= 10 ** (digits - 1) or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{digits - 1 - math.floor(math.log10(size))}f}"


def size(value: float) -> str:
    """Return bytes in the unit that keeps them short."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(amount) < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(us: float) -> str:
    """Return a length of time in µs as ``0.4s``, ``41s``, ``2m41s``, ``1h12m``, ``3d4h``."""
    seconds = us / clock.SECOND
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole_s = int(seconds)
    for limit, unit, name, rest in ((60, 1, "s", ""), (3600, 60, "m", "s"), (86_400, 3600, "h", "m")):
        if whole_s < limit:
            left = whole_s % unit * 60 // unit
            return f"{whole_s // unit}{name}" + (f"{left:02d}{rest}" if rest else "")
    return f"{whole_s // 86_400}d{whole_s % 86_400 // 3600}h"


def spark(values: Sequence[float | None], cells: int = 12) -> str:
    """Return the newest values as a row of blocks, scaled to their own range; gaps are blanks."""
    last = list(values)[-cells:]
    known = [one for one in last if one is not None and math.isfinite(one)]
    if not known:
        return NONE
    step = (max(known) - min(known)) / 7.999 or 1.0
    return "".join(
        _BLOCKS[int((one - min(known)) / step)] if one is not None and math.isfinite(one) else " " for one in last
    )


def _figure(kind: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        match kind:
            case "percent":
                return f"{value:.1f} %"
            case "bytes":
                return size(value)
            case "duration":
                return duration(value)
            case "hours":
                return duration(3.6e9 * value)
            case "rate":
                return f"{size(value)}/s"
            case "id":
                return str(value)
            case _:
                return number(value)
    if isinstance(value, list):
        return ", ".join(_figure("", one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{clean(str(key))}={_figure('', one)}" for key, one in value.items())
    return NONE if value is None else clean(str(value))


def _ago(ts_us: int) -> str:
    told = clock.ago(ts_us)
    return f"{told} ago" if told[0].isdigit() else told
