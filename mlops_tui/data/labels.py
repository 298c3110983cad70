"""How carefully data is handled and where it may live: labels that follow it into whatever is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mlops_tui.core.errors import BadInput, Refused

CLASSES = ("public", "internal", "personal", "health", "financial")
"""Classifications; what is made of several has the one that stands last here."""
_PLACE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{2,8})?")


def check_labels(classification: str, residency: str) -> None:
    """Tell whether labels can be understood.

    Raises:
        BadInput: no such classification, or a residency that names no jurisdictions.
    """
    if classification not in CLASSES:
        raise BadInput(f"there is no classification {classification!r}", "", "one of: " + ", ".join(CLASSES))
    if wrong := [place for place in _places(residency) if not _PLACE.fullmatch(place)]:
        raise BadInput(f"{wrong[0]!r} is no jurisdiction", "", "give codes such as AE, AE-DIFC or AE,EU")


def joined(sources: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return classification and residency of what is made of several versions.

    The strictest classification holds, and only places where every source may live; a source without a residency may
    live anywhere.

    Args:
        sources: rows of ``dataset_version``.

    Raises:
        Refused: there is no place where all of them may live.
    """
    rows = list(sources)
    declared = [_places(row["residency"]) for row in rows if row["residency"]]
    places = [place for place in (declared[0] if declared else []) if all(place in other for other in declared)]
    if declared and not places:
        raise Refused(
            "these data sets may not be put together",
            "no place may hold all of them: " + " and ".join(sorted({row["residency"] for row in rows} - {""})),
            "mlops data show says where each may live",
        )
    strictest = max((row["classification"] for row in rows), key=CLASSES.index)
    return {"classification": strictest, "residency": ",".join(places)}


def _places(residency: str) -> list[str]:
    return [place.strip() for place in residency.split(",") if place.strip()]
