"""What a shadow would have answered, beside what clients got: the same rows, both scores."""

from __future__ import annotations

from typing import Any

from mlops_tui.contracts.rollout_file import Spec
from mlops_tui.serving.record.segments import OK
from mlops_tui.store.session import Session

NEWEST = 2_000
"""Mirrored rows that are compared, the newest."""
_PAIRS = f"""
    WITH copy AS (SELECT request_id, "row", score, ts FROM inference
                  WHERE deployment_id = $deployment AND revision_no = $canary AND shadow AND status = {OK}
                    AND ts >= make_timestamp($since) AND isfinite(score) ORDER BY ts DESC LIMIT {NEWEST})
    SELECT count(*), count(*) FILTER ((i.score >= 0.5) <> (copy.score >= 0.5)),
      avg(abs(i.score - copy.score)), max(abs(i.score - copy.score))
    FROM copy JOIN inference i ON i.request_id = copy.request_id AND i."row" = copy."row"
      AND i.deployment_id = $deployment AND i.revision_no = $stable AND NOT i.shadow AND i.status = {OK}
      AND i.ts >= make_timestamp($since)"""


def compared(session: Session, row: dict[str, Any], spec: Spec) -> str:
    """Return in a sentence how a shadow's answers differ from those that were given; empty when nothing was mirrored.

    Args:
        session: of the store.
        row: the rollout, as ``rollouts.active`` returns it.
        spec: what was asked for.
    """
    if row["step"] < 0 or not any(one.shadow for one in spec.steps):
        return ""
    sides = {"canary": row["canary_no"], "stable": row["stable_no"]}
    found = session.row(_PAIRS, {"deployment": row["deployment_id"], "since": row["started_us"], **sides})
    rows, other, mean, most = found or (0, 0, 0.0, 0.0)
    if not rows:
        return ""
    return (
        f"of the newest {rows:,} mirrored rows {other:,} ({other / rows:.1%}) would be decided otherwise; "
        f"scores differ by {mean:.3g} on average, {most:.3g} at most"
    )
