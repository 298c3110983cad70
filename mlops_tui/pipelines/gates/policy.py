"""The policy of the gates: their bounds, built in or from a YAML file of the same shape."""

from __future__ import annotations

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

    Raises:
        BadInput: the file is not YAML of ``gate: {bound: number}``.
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
        known = policy.setdefault(gate, {})
        if gate in DEFAULT and (unknown := set(bounds) - set(known)):
            raise BadInput(
                f"{path}: the gate {gate} has no bound {', '.join(sorted(unknown))}",
                "",
                "its bounds: " + ", ".join(known),
            )
        known.update(bounds)
    return policy
