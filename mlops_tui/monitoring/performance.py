"""How good the answers were: on the labels that have come, or, before they do, by what the scores promise."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_tui.monitoring.reference import Monitor
from mlops_tui.serving.record.segments import FALLBACK, OK
from mlops_tui.stats import calibration, quality
from mlops_tui.store.session import Session


def measure(session: Session, monitor: Monitor, now: int) -> dict[str, Any] | None:
    """Return n, accuracy, auc, coverage and whether they are estimated; None while there is too little to say.

    Realised quality covers the labels that came within the window, however long ago their rows were answered, so it
    is known with any delay. Without enough of them, quality is estimated from the scores within the window (CBPE).
    ``coverage`` is the share of the answers of the window that have a label.
    """
    since = now - monitor.window_us
    here = [monitor.deployment, since]
    came = session.columns(
        """SELECT score, truth FROM outcome
           WHERE deployment_id = ? AND known >= make_timestamp(?) AND NOT shadow""",
        here,
    )
    score = session.columns(
        f"""SELECT score FROM inference WHERE deployment_id = ? AND ts >= make_timestamp(?)
            AND NOT shadow AND status IN ({OK}, {FALLBACK}) AND isfinite(score)""",
        here,
    )["score"]
    labelled = session.value(
        "SELECT count(*) FROM outcome WHERE deployment_id = ? AND ts >= make_timestamp(?) AND NOT shadow", here
    )
    coverage = min(1.0, labelled / len(score)) if len(score) else 0.0
    if len(came["truth"]) >= monitor.spec.min_rows:
        return {**_realised(came), "coverage": coverage, "estimated": False}
    calibrator = monitor.reference.calibrator
    if calibrator is not None and len(score) >= monitor.spec.min_rows:
        promised = calibration.expect(np.asarray(score), calibrator)
        figures = {"n": len(score), "accuracy": promised.accuracy.value, "auc": promised.roc_auc}
        return {**figures, "coverage": coverage, "estimated": True}
    return None


def _realised(came: dict[str, Any]) -> dict[str, Any]:
    score, truth = np.asarray(came["score"], np.float64), np.asarray(came["truth"]) >= 0.5
    right = (score >= 0.5) == truth
    return {"n": len(right), "accuracy": float(right.mean()), "auc": quality.roc_auc(truth.astype(int), score)}
