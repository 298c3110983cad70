"""What a toggle controls in a deployment: its metadata say so, ``{"deployment": NAME, "controls": WHAT}``.

====================  =================  ==================================================================
``controls``          variants           the servers, when the toggle has chosen
====================  =================  ==================================================================
``answers``           booleans           false: give no answers (503, or the fallback's constant); with
                                         ``"revision": LABEL`` only that revision gives none
``revision``          texts or objects   a label: that revision answers; ``{LABEL: WEIGHT}``: they share so
``fallback``          booleans           true: the fallback answers in place of the model
``shadow``            booleans           false: the request is not repeated on shadows
``log``               booleans           false: the request is not in the inference log
====================  =================  ==================================================================

A toggle that chooses nothing (disabled, no default, a rule that failed) changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from mlops_tui.toggles.checking import nearest, wrong
from mlops_tui.toggles.definition import Toggle

ANSWERS, REVISION, FALLBACK, SHADOW, LOG = CONTROLS = ("answers", "revision", "fallback", "shadow", "log")


class Binding(NamedTuple):
    """Whose servers ask a toggle, and what for; ``revision`` narrows ``answers``."""

    deployment: str
    controls: str
    revision: str = ""


def binding(toggle: Toggle) -> Binding | None:
    """Return what a toggle controls; None for one that only users' code asks.

    Raises:
        BadInput: its metadata are half of it, or its variants are of the wrong kind.
    """
    said = {name: str(toggle.metadata.get(name, "")) for name in ("deployment", "controls", "revision")}
    path = f"flags.{toggle.key}"
    if not said["deployment"] and not said["controls"]:
        return None
    if not said["deployment"]:
        raise wrong(f"{path}.metadata", "it controls something, but of no deployment", "name the deployment")
    if said["controls"] not in CONTROLS:
        raise wrong(f"{path}.metadata.controls", f"{said['controls']!r} is nothing to control", nearest(
            said["controls"], CONTROLS))  # fmt: skip
    kinds = ("string", "object") if said["controls"] == REVISION else ("boolean",)
    if toggle.kind not in kinds:
        raise wrong(
            f"{path}.variants",
            f"what controls {said['controls']} needs {' or '.join(kinds)} variants, not {toggle.kind}",
        )
    if toggle.kind == "object":
        _check_weights(toggle)
    return Binding(said["deployment"], said["controls"], said["revision"])


def _check_weights(toggle: Toggle) -> None:
    for name, weights in toggle.variants.items():
        values = list(weights.values()) if isinstance(weights, dict) else []
        numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool) and one >= 0]
        if not numbers or len(numbers) < len(values) or not sum(numbers) > 0:
            raise wrong(
                f"flags.{toggle.key}.variants.{name}", "is not weights by label", 'such as {"v1": 90, "v2": 10}'
            )
