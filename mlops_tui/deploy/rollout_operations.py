"""Operations of rollouts. What happens between them is the engine's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlops_tui.contracts import rollout as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.contracts.rollout_file import Spec, seconds
from mlops_tui.core.clock import SECOND
from mlops_tui.core.errors import BadInput, Conflict, Refused
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy import fallback, rollout_file, rollouts, traffic
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.deploy.gating import differs
from mlops_tui.deploy.machine import GOING_BACK, WORDS, entry, refuse_word
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import label, refuse_unservable, resolve_version
from mlops_tui.serving.routing import STICKY_ID


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


@implements(contract.start)
class StartRollout:
    """Begin to bring a version in."""

    def plan(self, ctx: Context, request: contract.StartRollout) -> Plan:
        """Read what is asked for; find the version, pin its digest, and see that nothing else is under way."""
        spec = _asked(ctx, request)
        row = find_deployment(ctx.session, ctx.tenant, spec.deployment)
        ended = _ended_for(ctx, row, request.supersede)
        version = resolve_version(ctx.session, ctx.tenant, spec.model)
        refuse_unservable(version)
        if why := differs(version, spec.digest):
            raise Refused(f"{label(version)} is not what was pinned", why, f"mlops version show {label(version)}")
        stable = ended["stable_no"] if ended and ended["state"] != "Baking" else _stable(ctx, row["id"])
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
        before, spare = labels[stable], _fallback(ctx, labels, spec)
        return Plan(
            operation="rollout.start",
            object=f"deploy:{row['name']}",
            text=f"bring {label(version)} into {row['name']} by {spec.strategy}",
            changes=_changes(spec, row["name"], before, label(version), ended) + _falls(row["name"], labels, spare),
            warnings=_warnings(spec, not request.file and not request.events),
            environment=row["environment"],
            data={"row": row, "version": version, "stable": stable, "spec": spec, "ended": ended, "fallback": spare},
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
        )
        if plan.data["fallback"] is not None:
            fallback.keep(ctx, row["id"], plan.data["fallback"])
        rollouts.enter(ctx, rollout, "Pending", -1, 0.0, plan.text)
        return rollouts.shown(ctx.session, rollouts.find(ctx.session, ctx.tenant, rollout["id"]))


def _fallback(ctx: Context, labels: Mapping[int, str], spec: Spec) -> fallback.Wanted | None:
    """Return the fallback that a rollout brings, if it brings one; it holds with its first change of the traffic."""
    part = spec.fallback
    if part is None:
        return None
    limit = seconds(part.timeout) if part.timeout is not None else None
    return fallback.wanted(ctx, labels, part.to, part.on, limit, part.last_resort)


def _falls(name: str, labels: Mapping[int, str], spare: fallback.Wanted | None) -> list[Change]:
    return [] if spare is None else [Change(object=f"deploy:{name}", field="fallback", after=spare.text(labels))]


def _asked(ctx: Context, request: contract.StartRollout) -> Spec:
    """Return what is asked for, by a file or by the usual choices."""
    if request.file:
        spec = rollout_file.read(request.file)
        for name in ("deployment", "model"):
            said, told = getattr(request, name), getattr(spec, name)
            if said and said != told:
                raise BadInput(f"the file says {name} {told}, you say {said}", "", "leave one of them out")
        return spec
    if not request.deployment or not request.model:
        raise BadInput("which deployment and which version?", "", "mlops rollout start employment employment@2")
    deployment = find_deployment(ctx.session, ctx.tenant, request.deployment)
    labelled = ctx.session.value("SELECT count(*) > 0 FROM outcome WHERE deployment_id = ?", [deployment["id"]])
    return rollout_file.chosen(request, labelled)


def _stable(ctx: Context, deployment: str) -> int:
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
        raise Conflict(f"the rollout of {row['name']} is {ended['state']}", "it is going back already", "wait for it")
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


def _warnings(spec: Spec, usual: bool) -> list[str]:
    """Return what one should know before; ``usual``: the events are those that nobody named."""
    warnings = []
    if usual and all(one.event != "wrong" for one in spec.analysis.harm):
        warnings.append("no labels have come to it: whether the version predicts worse is not judged (events: wrong)")
    if spec.sticky and spec.sticky.lower() not in STICKY_ID and spec.steps:
        warnings.append(
            f"clients stick to a version by {spec.sticky}: where a few of them make most errors, a version may be "
            f"rolled back for the clients that it happened to get, more often than alpha says"
        )
    return warnings


def _changes(spec: Spec, name: str, before: str, after: str, ended: dict[str, Any] | None) -> list[Change]:
    """Return what a rollout will do, step by step."""
    deployment, analysis = f"deploy:{name}", spec.analysis
    by = " → ".join(step.text for step in spec.steps) if spec.steps else spec.strategy
    changes = [Change(object=deployment, field="serves", before=before, after=f"{after} by {by}")]
    if ended:
        after_state = "Succeeded" if ended["state"] == "Baking" else "Superseded"
        changes.insert(
            0, Change(object=f"rollout:{ended['id']}", field="state", before=ended["state"], after=after_state)
        )
    for number, step in enumerate(spec.steps, 1):
        wait = f"until proven safe, at most {seconds(step.max):g} s" if step.until else f"{seconds(step.for_):g} s"
        told = f"a person approves: {step.approve}" if step.approve else f"{step.text} for {wait}"
        changes.append(Change(object=deployment, field=f"step {number}", after=told))
    if spec.steps:
        checks = [f"{one.event} ≤ {one.max_ratio:g} × stable" for one in analysis.harm]
        checks += [f"{one.event} ≤ {one.max_share:.2%}" for one in analysis.limits]
        told = f"{', '.join(checks)}; together wrong in at most {analysis.alpha:.1%} of harmless versions"
        changes.append(Change(object=deployment, field="judged by", after=told))
        changes.append(Change(object=deployment, field="on harm", after=spec.on_failure))
        changes.append(Change(object=deployment, field="without rows", after=analysis.on_no_data))
    keep = f"{seconds(spec.keep_old):g} s" if seconds(spec.keep_old) else "unloaded at once"
    changes.append(Change(object=deployment, field="old version kept", after=keep))
    return [*changes, Change(object=f"model_version:{spec.model}", field="digest", after=spec.digest)]


@implements(contract.status)
def status(ctx: Context, request: contract.RolloutRef) -> contract.Rollout:
    """Show a rollout."""
    return rollouts.shown(ctx.session, rollouts.find(ctx.session, ctx.tenant, request.rollout))


class _Steer:
    """A person's word to a rollout under way; the table of states says where it may be said and where it leads."""

    word = ""

    def leads(self, row: dict[str, Any], spec: Spec) -> tuple[str, int, float, traffic.Split | None]:
        """Return state, step, weight and split that come of the word; no split: the one in force stays."""
        raise NotImplementedError

    def plan(self, ctx: Context, request: contract.RolloutRef) -> Plan:
        """Check that the rollout can be steered so."""
        row = rollouts.find(ctx.session, ctx.tenant, request.rollout)
        refuse_word(self.word, row["state"], row["deployment"])
        state, step, weight, split = self.leads(row, rollout_file.kept(row["spec"]))
        changes = [Change(object=f"rollout:{row['id']}", field="state", before=row["state"], after=state)]
        if weight != row["weight"]:
            changes.append(
                Change(
                    object=f"rollout:{row['id']}", field="weight", before=f"{row['weight']:g} %", after=f"{weight:g} %"
                )
            )
        environment = ctx.session.value("SELECT environment FROM deployment WHERE id = ?", [row["deployment_id"]])
        return Plan(
            operation=f"rollout.{self.word}",
            object=f"rollout:{row['id']}",
            text=f"the rollout of {row['deployment']} is {WORDS[self.word].told}",
            changes=changes,
            environment=environment if self.word in ("promote", "approve") else "",
            data={"row": row, "leads": (state, step, weight, split)},
        )

    def apply(self, ctx: Context, request: contract.RolloutRef, plan: Plan) -> Done:
        """Enter the state, with its split in the same transaction; the engine goes on from there."""
        row, (state, step, weight, split) = plan.data["row"], plan.data["leads"]
        text = f"{WORDS[self.word].told} by {ctx.caller.name}" + (f": {ctx.caller.reason}" if ctx.caller.reason else "")
        now = traffic.current(ctx.session, row["deployment_id"])
        came = None
        if split is not None and (now is None or now.split != split):
            came = traffic.shift(ctx, row["deployment_id"], split, row["strategy"], text)
        rollouts.enter(ctx, row, state, step, weight, text, word=self.word, generation=came)
        return Done(object=plan.object, text=plan.text)


@implements(contract.pause)
class Pause(_Steer):
    """Hold a rollout where it is; harm still ends it."""

    word = "pause"

    def leads(self, row: dict[str, Any], spec: Spec) -> tuple[str, int, float, traffic.Split | None]:
        """Stay."""
        return "Paused", row["step"], row["weight"], None


@implements(contract.resume)
class Resume(_Steer):
    """Let a paused rollout go on: its step begins anew."""

    word = "resume"

    def leads(self, row: dict[str, Any], spec: Spec) -> tuple[str, int, float, traffic.Split | None]:
        """Show the step again, if harm had taken its traffic away."""
        begin = entry(spec, row["stable_no"], row["canary_no"], row["step"])
        return begin.state, row["step"], begin.weight, begin.split


@implements(contract.approve)
class Approve(_Steer):
    """Say the word that a rollout waits for: the next step begins."""

    word = "approve"

    def leads(self, row: dict[str, Any], spec: Spec) -> tuple[str, int, float, traffic.Split | None]:
        """Begin the next step."""
        begin = entry(spec, row["stable_no"], row["canary_no"], row["step"] + 1)
        return begin.state, row["step"] + 1, begin.weight, begin.split


@implements(contract.promote)
class Promote(_Steer):
    """Give the new version all traffic now; one that has it is done at once."""

    word = "promote"

    def leads(self, row: dict[str, Any], spec: Spec) -> tuple[str, int, float, traffic.Split | None]:
        """Skip what is left."""
        if row["state"] == "Baking":
            return "Succeeded", row["step"], 100.0, traffic.all_to(row["canary_no"])
        return "Promoting", row["step"], 100.0, entry(spec, row["stable_no"], row["canary_no"], len(spec.steps)).split


@implements(contract.abort)
class Abort(_Steer):
    """Give the stable version all traffic and end."""

    word = "abort"

    def leads(self, row: dict[str, Any], spec: Spec) -> tuple[str, int, float, traffic.Split | None]:
        """Give stable everything at once; the engine ends the rollout when the servers show it."""
        return "Aborting", row["step"], 0.0, traffic.all_to(row["stable_no"])


@implements(contract.rollback)
class Rollback:
    """Bring a deployment back: out of a rollout under way to stable, else to what was stable before.

    While the old version is loaded this is one swap of pointers in the servers, whatever state the rollout is in.
    """

    def plan(self, ctx: Context, request: contract.OneDeployment) -> Plan:
        """Find what to go back to."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        under_way = next(iter(rollouts.active(ctx.session, row["id"])), None)
        if under_way:
            refuse_word("rollback", under_way["state"], row["name"])
            serving, back = under_way["canary_no"], under_way["stable_no"]
        else:
            refuse_busy(ctx, row)
            serving, back = self._before(ctx, row)
        labels = labels_of(ctx.session, row["id"])
        return Plan(
            operation="rollout.rollback",
            object=f"deploy:{row['name']}",
            text=f"{row['name']} goes back from {labels[serving]} to {labels[back]}",
            changes=[
                Change(object=f"deploy:{row['name']}", field="serves", before=labels[serving], after=labels[back])
            ],
            environment=row["environment"],
            data={"id": row["id"], "before": back, "rollout": under_way},
        )

    def _before(self, ctx: Context, row: dict[str, Any]) -> tuple[int, int]:
        """Return what serves and what was stable before, while the window for going back is open."""
        before = traffic.before_stable(ctx.session, row["id"])
        if before is None:
            raise Conflict(
                f"{row['name']} has nothing to go back to",
                "no other version was stable before this one",
                f"mlops deploy show {row['name']}",
            )
        last = rollouts.newest(ctx.session, row["id"])
        window = seconds(rollout_file.kept(last["spec"]).rollback_window) if last else None
        if last and window is not None and last["state"] == "Succeeded" and ctx.now - last["since"] > window * SECOND:
            model = ctx.session.value(
                """SELECT m.name || '@' || v.version FROM revision r JOIN model_version v ON v.id = r.version_id
                   JOIN model m ON m.id = v.model_id WHERE r.deployment_id = ? AND r.no = ?""",
                [row["id"], before],
            )
            raise Conflict(
                f"the window for going back at once is over ({window / 86_400:g} days)",
                "what was good then is judged again",
                f"mlops rollout start {row['name']} {model}",
            )
        return _stable(ctx, row["id"]), before

    def apply(self, ctx: Context, request: contract.OneDeployment, plan: Plan) -> Done:
        """Shift all traffic back."""
        split, row = traffic.all_to(plan.data["before"]), plan.data["rollout"]
        why = ctx.caller.reason or plan.text
        came = traffic.shift(ctx, plan.data["id"], split, row["strategy"] if row else "rollback", why)
        if row:
            text = f"rolled back by {ctx.caller.name}" + (f": {ctx.caller.reason}" if ctx.caller.reason else "")
            rollouts.enter(ctx, row, "RollingBack", row["step"], 0.0, text, word="rollback", generation=came)
        ctx.emit("deploy", plan.data["id"], "rolled back", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


@implements(contract.history)
def history(ctx: Context, request: contract.HistoryRequest) -> contract.History:
    """Show every change of a deployment's traffic."""
    row = find_deployment(ctx.session, ctx.tenant, request.deployment)
    labels = labels_of(ctx.session, row["id"])
    rows = ctx.session.rows(
        """SELECT epoch_us(ts), seq, split, strategy, actor, reason FROM traffic_event
           WHERE deployment_id = ? ORDER BY seq DESC LIMIT ?""",
        [row["id"], request.limit],
    )
    total = ctx.session.value("SELECT count(*) FROM traffic_event WHERE deployment_id = ?", [row["id"]])
    shifts = [
        contract.Shift(
            ts=ts,
            generation=seq,
            traffic=_shares(msgspec.json.decode(split, type=traffic.Split), labels),
            by=strategy,
            actor=actor,
            text=reason,
        )
        for ts, seq, split, strategy, actor, reason in rows
    ]
    return contract.History(deployment=row["name"], total=total, shifts=shifts)


def _shares(split: traffic.Split, labels: dict[int, str]) -> str:
    """Return a split as people read it: ``v1 90 %  v2 10 %``, ``v2 shadow``."""
    return "  ".join(
        f"{labels[one.no]} {'shadow' if one.role == 'shadow' else f'{one.weight:g} %'}" for one in split.shares
    )
