"""Operations of rollouts. What happens between them is the engine's."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import deploy as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy import rollouts, traffic
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import label, refuse_unservable, resolve_version

STRATEGIES = ("canary", "blue-green", "shadow")
EVENTS = ("error", "wrong")
ON_NO_DATA = ("hold", "proceed", "rollback")


def refuse_busy(ctx: Context, row: dict[str, Any]) -> None:
    """Refuse a change of the traffic while a rollout or an A/B test shares it.

    Raises:
        Conflict: one does.
    """
    name = row["name"]
    if under_way := rollouts.active(ctx.session, row["id"]):
        raise Conflict(
            f"a rollout of {name} is {under_way[0]['state']}", "one change at a time", f"mlops rollout abort {name}"
        )
    now = traffic.current(ctx.session, row["id"])
    if now is not None and now.split.tested:
        raise Conflict(f"an A/B test runs on {name}", "its arms share the traffic", f"mlops ab stop {name}")


def _check(request: contract.StartRollout) -> None:
    if request.strategy not in STRATEGIES:
        raise BadInput(f"there is no strategy {request.strategy!r}", "", "one of: " + ", ".join(STRATEGIES))
    steps = request.steps
    if not steps or any(not 0 < step < 100 for step in steps) or sorted(set(steps)) != steps:
        raise BadInput(
            f"the steps {steps} cannot be taken",
            "weights rise and lie between 0 and 100 per cent",
            "--steps 5 --steps 25 --steps 50",
        )
    if not request.events or set(request.events) - set(EVENTS) or len(set(request.events)) < len(request.events):
        raise BadInput(f"the events {request.events} cannot be judged", "", "each once, of: " + ", ".join(EVENTS))
    if request.on_no_data not in ON_NO_DATA:
        raise BadInput(f"on_no_data cannot be {request.on_no_data!r}", "", "one of: " + ", ".join(ON_NO_DATA))


@implements(contract.rollout_start)
class StartRollout:
    """Begin to bring a version in."""

    def plan(self, ctx: Context, request: contract.StartRollout) -> Plan:
        """Check strategy and steps, and that nothing else is under way."""
        _check(request)
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        refuse_busy(ctx, row)
        version = resolve_version(ctx.session, ctx.tenant, request.model)
        refuse_unservable(version)
        now = traffic.current(ctx.session, row["id"])
        assert now is not None  # written together with the deployment
        stable = now.split.stable
        serving = ctx.session.value(
            "SELECT version_id FROM revision WHERE deployment_id = ? AND no = ?", [row["id"], stable]
        )
        if serving == version["id"]:
            raise Conflict(f"{row['name']} serves {label(version)} already")
        by = " → ".join(f"{step:g} %" for step in request.steps) if request.strategy == "canary" else request.strategy
        before, after = labels_of(ctx.session, row["id"])[stable], f"{label(version)} by {by}"
        return Plan(
            operation="rollout.start",
            object=f"deploy:{row['name']}",
            text=f"bring {label(version)} into {row['name']} by {request.strategy}",
            changes=[Change(object=f"deploy:{row['name']}", field="serves", before=before, after=after)],
            data={"row": row, "version": version, "stable": stable},
        )

    def apply(self, ctx: Context, request: contract.StartRollout, plan: Plan) -> contract.Rollout:
        """Write the rollout and its first state."""
        row = plan.data["row"]
        rollout = {"id": uuid7(), "deployment": row["name"]}
        ctx.session.insert(
            "rollout",
            id=rollout["id"],
            tenant=ctx.tenant,
            deployment_id=row["id"],
            strategy=request.strategy,
            spec=msgspec.json.encode(request).decode(),
            stable_no=plan.data["stable"],
            canary_no=traffic.add_revision(ctx, row["id"], plan.data["version"]),
            started_us=ctx.now,
            actor=ctx.caller.name,
        )
        rollouts.enter(ctx, rollout, "Pending", -1, 0.0, plan.text)
        return rollouts.shown(ctx.session, rollouts.find(ctx.session, ctx.tenant, rollout["id"]))


@implements(contract.rollout_status)
def status(ctx: Context, request: contract.RolloutRef) -> contract.Rollout:
    """Show a rollout."""
    return rollouts.shown(ctx.session, rollouts.find(ctx.session, ctx.tenant, request.rollout))


class _Steer:
    """A person's word to a rollout under way: from these states into that one."""

    operation, verb, state = "", "", ""
    allowed: tuple[str, ...] = ()
    weight: float | None = None

    def plan(self, ctx: Context, request: contract.RolloutRef) -> Plan:
        """Check that the rollout can be steered so."""
        row = rollouts.find(ctx.session, ctx.tenant, request.rollout)
        if row["state"] not in self.allowed:
            raise Conflict(
                f"the rollout of {row['deployment']} is {row['state']}",
                f"it cannot be {self.verb} now",
                f"mlops rollout status {row['deployment']}",
            )
        return Plan(
            operation=self.operation,
            object=f"rollout:{row['id']}",
            text=f"the rollout of {row['deployment']} is {self.verb}",
            changes=[Change(object=f"rollout:{row['id']}", field="state", before=row["state"], after=self.state)],
            data=row,
        )

    def apply(self, ctx: Context, request: contract.RolloutRef, plan: Plan) -> Done:
        """Enter the state; the engine goes on from there."""
        row = plan.data
        weight = row["weight"] if self.weight is None else self.weight
        rollouts.enter(ctx, row, self.state, row["step"], weight, f"{self.verb} by {ctx.caller.name}")
        return Done(object=plan.object, text=plan.text)


@implements(contract.rollout_pause)
class Pause(_Steer):
    """Hold a rollout where it is; harm still ends it."""

    operation, verb, state, allowed = "rollout.pause", "paused", "Paused", ("Shifting",)


@implements(contract.rollout_resume)
class Resume(_Steer):
    """Let a paused rollout go on."""

    operation, verb, state, allowed = "rollout.resume", "resumed", "Shifting", ("Paused",)


@implements(contract.rollout_promote)
class Promote(_Steer):
    """Give the new version all traffic now."""

    operation, verb, state, allowed = "rollout.promote", "promoted", "Promoting", ("Shifting", "Paused")
    weight = 100.0


@implements(contract.rollout_abort)
class Abort(_Steer):
    """Give the stable version all traffic and end."""

    operation, verb, state, weight = "rollout.abort", "aborted", "Aborting", 0.0
    allowed = ("Pending", "Provisioning", "Shifting", "Paused", "Promoting")

    def apply(self, ctx: Context, request: contract.RolloutRef, plan: Plan) -> Done:
        """Give stable everything at once; the engine ends the rollout when the servers show it."""
        row = plan.data
        traffic.shift(ctx, row["deployment_id"], traffic.all_to(row["stable_no"]), row["strategy"], plan.text)
        return super().apply(ctx, request, plan)


@implements(contract.rollout_rollback)
class Rollback:
    """Bring a deployment back to the revision that was stable before the one that is."""

    def plan(self, ctx: Context, request: contract.RollbackDeployment) -> Plan:
        """Find what was stable before."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        refuse_busy(ctx, row)
        before = traffic.before_stable(ctx.session, row["id"])
        now = traffic.current(ctx.session, row["id"])
        if before is None or now is None:
            raise Conflict(
                f"{row['name']} has nothing to go back to",
                "no other version was stable before this one",
                f"mlops deploy show {row['name']}",
            )
        labels = labels_of(ctx.session, row["id"])
        stable, back = labels[now.split.stable], labels[before]
        return Plan(
            operation="rollout.rollback",
            object=f"deploy:{row['name']}",
            text=f"{row['name']} goes back from {stable} to {back}",
            changes=[Change(object=f"deploy:{row['name']}", field="serves", before=stable, after=back)],
            data={"id": row["id"], "before": before},
        )

    def apply(self, ctx: Context, request: contract.RollbackDeployment, plan: Plan) -> Done:
        """Shift all traffic back."""
        split = traffic.all_to(plan.data["before"])
        traffic.shift(ctx, plan.data["id"], split, "rollback", ctx.caller.reason or plan.text)
        ctx.emit("deploy", plan.data["id"], "rolled back", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)
