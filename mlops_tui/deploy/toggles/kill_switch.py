"""The kill switch: a toggle that stops the answers of a deployment or a revision, within a second and without agent."""

from __future__ import annotations

import shlex

from mlops_tui.contracts import deploy as contract
from mlops_tui.contracts.operation import Done, Plan
from mlops_tui.core.errors import NotFound
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.deploy.targets.targets import LOCAL
from mlops_tui.deploy.toggles.changes import apply, plan_of
from mlops_tui.door import Context, implements
from mlops_tui.serving.deployment import TOGGLES
from mlops_tui.toggles.binding import ANSWERS
from mlops_tui.toggles.checking import nearest

_ON_OFF = {"on": True, "off": False}


class _Switch:
    """Stop or resume a deployment's answers by the toggle that controls them."""

    verb, variant, action = "kill", "off", "killed"

    def plan(self, ctx: Context, request: contract.Kill) -> Plan:
        """Say which toggle is switched, and what clients get from now on."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        name, label = row["name"], request.revision
        if label and label not in (known := labels_of(ctx.session, row["id"]).values()):
            raise NotFound(f"{name} has no revision {label!r}", "", nearest(label, known))
        key = f"{name}.{label}.{ANSWERS}" if label else f"{name}.{ANSWERS}"
        bound = {"deployment": name, "controls": ANSWERS, **({"revision": label} if label else {})}
        if ctx.caller.reason and self.variant == "off":
            bound["why"] = ctx.caller.reason
        flag = {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": self.variant,
            "metadata": bound,
        }
        words = ["mlops", "deploy", self.verb, name, *(["--revision", label] if label else [])]
        plan = plan_of(ctx, f"deploy.{self.verb}", {key: flag}, shlex.join(words), name)
        whom = f"revision {label} of {name}" if label else name
        plan.object, plan.text = f"deploy:{name}", self.said(whom)
        if row["target"] != LOCAL:
            plan.warnings.append(
                f"its servers stand at {row['target']}: they follow when that brings {TOGGLES} to them"
            )
        return plan

    def apply(self, ctx: Context, request: contract.Kill, plan: Plan) -> Done:
        """Switch it; the servers follow within a second, without the agent."""
        done = apply(ctx, plan, self.action)
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        ctx.emit("deploy", row["id"], self.action, plan.text, plan.object)
        return done

    def said(self, whom: str) -> str:
        """Return the plan in a sentence."""
        return f"{whom} gives no answers from now on: clients get 503, or the fallback"


@implements(contract.kill)
class Kill(_Switch):
    """Stop answers."""


@implements(contract.revive)
class Revive(_Switch):
    """Let answers be given again."""

    verb, variant, action = "revive", "on", "revived"

    def said(self, whom: str) -> str:
        """Return the plan in a sentence."""
        return f"{whom} answers again"
