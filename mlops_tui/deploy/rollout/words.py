"""What people say to a rollout under way: pause, resume, approve, promote, abort."""

from __future__ import annotations

from typing import Any

from mlops_tui.contracts import rollout as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.contracts.rollout_file import Spec
from mlops_tui.deploy import traffic
from mlops_tui.deploy.rollout import file as rollout_file
from mlops_tui.deploy.rollout import rollouts
from mlops_tui.deploy.rollout.machine import WORDS, entry, refuse_word
from mlops_tui.door import Context, implements


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
