"""The policy of the gates: their bounds, built in or from a YAML file of the same shape."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mlops_tui.core.errors import BadInput

DEFAULT: dict[str, dict[str, Any]] = {
    "quality": {"min_accuracy": 0.7, "min_auc": 0.75, "max_auc_drop": 0.01},
    "fairness": {"max_demographic_parity": 0.2, "max_equalized_odds": 0.25, "max_accuracy_gap": 0.15, "min_group": 200},
    "explanation": {"max_share": 0.6, "top": 3, "rows": 2000, "repeats": 3},
    "endpoint": {"rows": 32, "max_p95_ms": 50.0, "atol": 1e-4},
}


def load_policy(path: str) -> dict[str, dict[str, Any]]:
    """Return the bounds by gate: those of the file over the built-in ones.

    Args:
        path: the file; empty: the built-in bounds alone. It may hold bounds for gates of plugins.

    Raises:
        BadInput: the file is not YAML of ``gate: {bound: number}``, or names a bound that a built-in gate has not.
    """
    policy = {gate: dict(bounds) for gate, bounds in DEFAULT.items()}
    if not path:
        return policy
    import yaml

    try:
        given = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"cannot read the policy {path}", str(error), "give a YAML file") from error
    if not isinstance(given, dict) or not all(isinstance(bounds, dict) for bounds in given.values()):
        raise BadInput(
            f"{path} is not a gate policy", "it must hold a mapping for each gate", "quality: {min_auc: 0.8}"
        )
    for gate, bounds in given.items():
        if gate in DEFAULT:
            _check(path, gate, bounds)
        policy.setdefault(gate, {}).update(bounds)
    return policy


def _check(path: str, gate: str, bounds: dict[str, Any]) -> None:
    for bound, value in bounds.items():
        if bound not in DEFAULT[gate]:
            raise BadInput(
                f"{path}: the gate {gate} has no bound {bound}", "", "its bounds: " + ", ".join(DEFAULT[gate])
            )
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
            raise BadInput(f"{path}: {gate}.{bound} is {value!r}", "a bound is a number, not below 0", "mend the file")
