"""JSON that is the same everywhere: canonical bytes for hashes, IEEE values carried as words."""

from __future__ import annotations

import json
import math
from typing import Any


def canonical(value: Any) -> bytes:
    """Return the one byte string that stands for a value in hashes: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def ieee_word(value: float) -> str:
    """Return how a non-finite number is written where JSON has no number for it."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
