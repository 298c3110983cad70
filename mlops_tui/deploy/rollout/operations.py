"""Beginning a rollout. What happens then is the engine's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlops_tui.contracts import rollout as contract
from mlops_tui.contracts.operation import Change, Plan
from mlops_tui.contracts.rollout_file import USUAL_CHECKS, Spec, seconds
from mlops_tui.core.errors import BadInput, Conflict, Refused
from mlops_tui.core.ids import uuid7
from mlops_tui.core.states import spoken
from mlops_tui.deploy import fallback, traffic
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.deploy.rollout import file as rollout_file
from mlops_tui.deploy.rollout import rollouts
from mlops_tui.deploy.rollout.foresight import foretold
from mlops_tui.deploy.rollout.gating import differs, unpassed
from mlops_tui.deploy.rollout.machine import GOING_BACK, sticky_of
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import label, refuse_unservable, resolve_version
from mlops_tui.serving.traffic.sticky import FIELD, by_id

SEES = "can see"
"""What a plan says of the rollout's power, from the traffic of the moment."""


def refuse_busy(ctx: Context, row: dict[str, Any]) -> None:
    """Refuse a change of the traffic while a rollout or an A/B test shares it.

    Raises:
        Conflict: one does.
    """
    name = row["name"]
    if under_way := rollouts.active(ctx.session, row["id"]):
        raise Conflict(
            f"a rollout of {name} is {spoken(under_way[0]['state'])}",
            "one change at a time",
            f"mlops rollout abort {name}",
        )
    now = traffic.current(ctx.session, row["id"])
    if now is not None and now.split.tested:
        raise Conflict(f"an A/B test runs on {name}", "its arms share the traffic", f"mlops ab stop {name}")


@implements(contract.start)
class StartRollout:
    """Begin to bring a version in."""

    def plan(self, ctx: Context, request: contract.StartRollout) -> Plan:
        """Read what is asked for; find the version, pin its digest, and see that nothing else is under way."""
        spec, usual = _asked(ctx, request)
        row = find_deployment(ctx.session, ctx.tenant, spec.deployment)
        ended = _ended_for(ctx, row, request.supersede)
        version = resolve_version(ctx.session, ctx.tenant, spec.model)
        refuse_unservable(version)
        if why := differs(version, spec.digest):
            raise Refused(f"{label(version)} is not what was pinned", why, f"mlops version show {label(version)}")
        spec, gates = _gated(ctx, row, version, spec, request)
        stable = ended["stable_no"] if ended and ended["state"] != "Baking" else stable_of(ctx, row["id"])
        if ended and ended["state"] == "Baking":
            stable = ended["canary_no"]
        serving = ctx.session.value(
            "SELECT version_id FROM revision WHERE deployment_id = ? AND no = ?", [row["id"], stable]
        )
        if serving == version["id"]:
            raise Conflict(f"{row['name']} serves {label(version)} already")
        spec = msgspec.structs.replace(
            spec, deployment=row["name"], model=label(version), digest=spec.digest or version["digest"]
        )
        labels = labels_of(ctx.session, row["id"])
        before, spare = labels[stable], _fallback(ctx, row["id"], version, spec)
        sees = foretold(ctx.session, row["id"], spec, ctx.now)
        return Plan(
            operation="rollout.start",
            object=f"deploy:{row['name']}",
            text=f"bring {label(version)} into {row['name']} by {spec.strategy}"
            + (f"; its gates are overridden: {spec.override_gates}" if gates else ""),
            changes=gates
            + _changes(spec, row["name"], before, label(version), sees.text, ended)
            + _falls(row["name"], labels, spare),
            warnings=_warnings(spec, usual, sees.warning),
            environment=row["environment"],
            passing=[SEES],
            data={
                "row": row,
                "version": version,
                "stable": stable,
                "spec": spec,
                "ended": ended,
                "fallback": spare,
                "sees": sees.text,
            },
        )

    def apply(self, ctx: Context, request: contract.StartRollout, plan: Plan) -> contract.Rollout:
        """Write the rollout and its first state."""
        row, spec, ended = plan.data["row"], plan.data["spec"], plan.data["ended"]
        if ended:
            _end(ctx, row, ended)
        rollout = {"id": uuid7(), "deployment": row["name"]}
        ctx.session.insert(
            "rollout",
            id=rollout["id"],
            tenant=ctx.tenant,
            deployment_id=row["id"],
            strategy=spec.strategy,
            spec=msgspec.json.encode(spec).decode(),
            stable_no=plan.data["stable"],
            canary_no=traffic.add_revision(ctx, row["id"], plan.data["version"]),
            started_us=ctx.now,
            actor=ctx.caller.name,
            sees=plan.data["sees"],
        )
        if plan.data["fallback"] is not None:
            fallback.keep(ctx, row["id"], plan.data["fallback"])
        rollouts.enter(ctx, rollout, "Pending", -1, 0.0, plan.text)
        return rollouts.shown(ctx.session, rollouts.find(ctx.session, ctx.tenant, rollout["id"]))


def _gated(
    ctx: Context, row: dict[str, Any], version: dict[str, Any], spec: Spec, request: contract.StartRollout
) -> tuple[Spec, list[Change]]:
    """Return a specification with the reason why gates are overridden, if they are, and what that overrides.

    Raises:
        Refused: the version did not pass its gates, and nobody says why it may come in all the same.
    """
    reason = (request.override_gates or spec.override_gates).strip()
    why = unpassed(ctx.session, version, row["environment"])
    if why and not reason:
        again = f'mlops rollout start {row["name"]} {label(version)} --override-gates "why it may"'
        raise Refused(f"{label(version)} may not come into {row['name']}", why, f"run its gates again, or {again}")
    spec = msgspec.structs.replace(spec, override_gates=reason if why else "")
    told = Change(object=f"model_version:{label(version)}", field="gates", before=why, after=f"overridden: {reason}")
    return spec, [told] if why else []


def _fallback(ctx: Context, deployment: str, version: dict[str, Any], spec: Spec) -> fallback.Wanted | None:
    """Return the fallback that a rollout brings, if it brings one; it holds with its first change of the traffic."""
    part = spec.fallback
    if part is None:
        return None
    limit = seconds(part.timeout) if part.timeout is not None else None
    return fallback.wanted(ctx, deployment, [version], part.to, part.on, limit, part.last_resort)


def _falls(name: str, labels: Mapping[int, str], spare: fallback.Wanted | None) -> list[Change]:
    return [] if spare is None else [Change(object=f"deploy:{name}", field="fallback", after=spare.text(labels))]


def _asked(ctx: Context, request: contract.StartRollout) -> tuple[Spec, bool]:
    """Return what is asked for, by a file or by the usual choices, and whether nobody says what is compared."""
    if request.file:
        spec = rollout_file.read(request.file)
        for name in ("deployment", "model"):
            said, told = getattr(request, name), getattr(spec, name)
            if said and said != told:
                raise BadInput(f"the file says {name} {told}, you say {said}", "", "leave one of them out")
        if spec.analysis.harm is not USUAL_CHECKS:
            return spec, False
        return rollout_file.usual(spec, _labelled(ctx, spec.deployment)), True
    if not request.deployment or not request.model:
        raise BadInput("which deployment and which version?", "", "mlops rollout start employment employment@2")
    return rollout_file.chosen(request, _labelled(ctx, request.deployment)), not request.events


def _labelled(ctx: Context, deployment: str) -> bool:
    found = find_deployment(ctx.session, ctx.tenant, deployment)
    return bool(ctx.session.value("SELECT count(*) > 0 FROM outcome WHERE deployment_id = ?", [found["id"]]))


def stable_of(ctx: Context, deployment: str) -> int:
    """Return the revision of a deployment that is stable now."""
    now = traffic.current(ctx.session, deployment)
    assert now is not None  # written together with the deployment
    return now.split.stable


def _ended_for(ctx: Context, row: dict[str, Any], supersede: bool) -> dict[str, Any] | None:
    """Return the rollout that must end for another to begin; None when there is none."""
    under_way = rollouts.active(ctx.session, row["id"])
    if not supersede or not under_way:
        refuse_busy(ctx, row)
        return None
    ended = under_way[0]
    if ended["state"] in GOING_BACK:
        now = spoken(ended["state"])
        raise Conflict(f"the rollout of {row['name']} is {now}", "it is going back already", "wait for it")
    return ended


def _end(ctx: Context, row: dict[str, Any], ended: dict[str, Any]) -> None:
    """End a rollout because the next one begins: one that bakes has succeeded, any other is superseded."""
    who = f"by {ctx.caller.name}, who begins another"
    if ended["state"] == "Baking":
        came = traffic.shift(ctx, row["id"], traffic.all_to(ended["canary_no"]), ended["strategy"], f"baked {who}")
        text = f"its bake was ended {who}"
        rollouts.enter(ctx, ended, "Succeeded", ended["step"], 100.0, text, word="promote", generation=came)
        return
    came = traffic.shift(ctx, row["id"], traffic.all_to(ended["stable_no"]), ended["strategy"], f"superseded {who}")
    text = f"superseded {who}"
    rollouts.enter(ctx, ended, "Superseded", ended["step"], 0.0, text, word="supersede", generation=came)


def _warnings(spec: Spec, usual: bool, blind: str) -> list[str]:
    """Return what one should know before.

    Args:
        spec: what is asked for.
        usual: the events are those that nobody named.
        blind: what its steps are too short to see.
    """
    warnings = [blind] if blind else []
    if usual and all(one.event != "wrong" for one in spec.analysis.harm):
        warnings.append("no labels have come to it: whether the version predicts worse is not judged (events: wrong)")
    return warnings


def _changes(spec: Spec, name: str, before: str, after: str, sees: str, ended: dict[str, Any] | None) -> list[Change]:
    """Return what a rollout will do, step by step."""
    deployment, analysis = f"deploy:{name}", spec.analysis
    by = " → ".join(step.text for step in spec.steps) if spec.steps else spec.strategy
    changes = [Change(object=deployment, field="serves", before=before, after=f"{after} by {by}")]
    if ended:
        after_state = "Succeeded" if ended["state"] == "Baking" else "Superseded"
        changes.insert(
            0, Change(object=f"rollout:{ended['id']}", field="state", before=ended["state"], after=after_state)
        )
    if (stuck := sticky_of(spec)) is not None:
        changes.append(Change(object=deployment, field="clients stick by", after=_stick(stuck)))
    warm = f"by {spec.warmup} of the newest requests, before it gets any" if spec.warmup else "no"
    changes.append(Change(object=deployment, field="warm-up", after=warm))
    for number, step in enumerate(spec.steps, 1):
        wait = f"until proven safe, at most {seconds(step.max):g} s" if step.until else f"{seconds(step.for_):g} s"
        told = f"a person approves: {step.approve}" if step.approve else f"{step.text} for {wait}"
        changes.append(Change(object=deployment, field=f"step {number}", after=told))
    if spec.steps:
        checks = [f"{one.event} ≤ {one.max_ratio:g} × stable" for one in analysis.harm]
        checks += [f"{one.event} ≤ {one.max_share:.2%}" for one in analysis.limits]
        told = f"{', '.join(checks)}; together wrong in at most {analysis.alpha:.1%} of harmless versions"
        changes.append(Change(object=deployment, field="judged by", after=told))
        if sees:
            changes.append(Change(object=deployment, field=SEES, after=sees))
        changes.append(Change(object=deployment, field="on harm", after=spec.on_failure))
        changes.append(Change(object=deployment, field="without rows", after=analysis.on_no_data))
    keep = f"{seconds(spec.keep_old):g} s" if seconds(spec.keep_old) else "unloaded at once"
    changes.append(Change(object=deployment, field="old version kept", after=keep))
    return [*changes, Change(object=f"model_version:{spec.model}", field="digest", after=spec.digest)]


def _stick(said: str) -> str:
    if by_id(said):
        return "the request's id: each request is drawn by itself"
    if said.startswith(FIELD):
        return f"the field {said[len(FIELD) :]} of the request, of several rows by the first; judged client by client"
    return f"the header {said}; judged client by client"


@implements(contract.status)
def status(ctx: Context, request: contract.RolloutRef) -> contract.Rollout:
    """Show a rollout."""
    return rollouts.shown(ctx.session, rollouts.find(ctx.session, ctx.tenant, request.rollout))
