"""What the fields of answers are, by their names: how a value is shown, and what people call it."""

from __future__ import annotations

import re
from typing import Any

_KINDS = {
    "time": "ts created updated started ended heartbeat opened closed since until audit_checked",
    "bytes": "size memory mem_used mem_total disk_used disk_total spool_bytes_behind",
    "status": "status state verdict severity outcome",
    "percent": "cpu util weight",
    "share": "progress coverage",
    "id": "id pid seq port exit_code",
    "duration": "duration",
    "rate": "net_down net_up",
    "hours": "cpu_hours gpu_hours cpu_hours_today gpu_hours_today",
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_LABELS = {"ts": "when", "actor": "by"}
_WORD = re.compile(r"[\w.-]*")


def kind_of(name: str, value: Any) -> str:
    """Return how a field is shown, from its name and value."""
    kind = _KIND_OF.get(name, "")
    if isinstance(value, str) and (kind not in ("", "id", "status") or not _WORD.fullmatch(value)):
        return "text"
    if kind:
        return kind
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    is_curve = isinstance(value, list) and len(value) > 2 and all(isinstance(one, float | None) for one in value)
    return "spark" if is_curve else "text"


def label_of(name: str) -> str:
    """Return what people call a field."""
    return _LABELS.get(name, name.replace("_", " "))
