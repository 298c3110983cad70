"""Operations and list of rollouts. What happens between them is the engine's."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import deploy as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.core.ids import matches, uuid7
from mlops_tui.deploy import deployments, traffic
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import resolve_version
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

TERMINAL = ("Succeeded", "RolledBack", "Aborted", "Superseded")
STRATEGIES = ("canary", "blue-green", "shadow")
_LAST = """(SELECT rollout_id, state, step, weight, text, ts FROM rollout_event
            QUALIFY row_number() OVER (PARTITION BY rollout_id ORDER BY seq DESC) = 1)"""

lists(
    Listing(
        noun="rollout",
        source=f"""rollout r JOIN deployment d ON d.id = r.deployment_id JOIN {_LAST} e ON e.rollout_id = r.id
            JOIN revision s ON s.deployment_id = d.id AND s.no = r.stable_no JOIN revision c ON c.deployment_id = d.id AND c.no = r.canary_no""",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="deployment", label="deployment"),
            Column(name="strategy", label="strategy"),
            Column(name="change", label="change"),
            Column(name="state", label="state", kind="status"),
            Column(name="weight", label="weight", kind="float", unit="%"),
            Column(name="started", label="started", kind="time"),
            Column(name="actor", label="by"),
            Column(name="text", label="why"),
        ],
        expressions={
            "id": "r.id",
            "deployment": "d.name",
            "strategy": "r.strategy",
            "change": "s.label || ' → ' || c.label",
            "state": "e.state",
            "weight": "e.weight",
            "started": "epoch_us(r.started)",
            "actor": "r.actor",
            "text": "e.text",
        },
        sort="-started",
        tenant="r.tenant",
    )
)


def active(session: Session, deployment: str | None = None) -> list[dict[str, Any]]:
    """Return rollouts that are not over, with their newest state, oldest first."""
    return session.dicts(
        f"""SELECT r.*, epoch_us(r.started) AS started_us, d.name AS deployment, d.acknowledged, e.state, e.step, e.weight, epoch_us(e.ts) AS since
            FROM rollout r JOIN deployment d ON d.id = r.deployment_id JOIN {_LAST} e ON e.rollout_id = r.id
            WHERE e.state NOT IN ('{"', '".join(TERMINAL)}') AND d.removed IS NULL AND (? IS NULL OR r.deployment_id = ?) ORDER BY r.started""",
        [deployment, deployment],
    )


def find(ctx: Context, typed: str) -> dict[str, Any]:
    """Return the rollout that a person means: by id, or the newest of a deployment.

    Raises:
        NotFound: there is none.
    """
    rows = ctx.session.dicts(
        f"""SELECT r.*, epoch_us(r.started) AS started_us, d.name AS deployment, e.state, e.step, e.weight, e.text, epoch_us(e.ts) AS since
            FROM rollout r JOIN deployment d ON d.id = r.deployment_id JOIN {_LAST} e ON e.rollout_id = r.id WHERE r.tenant = ? ORDER BY r.started DESC""",
        [ctx.tenant],
    )
    for row in rows:
        if row["deployment"] == typed or matches(row["id"], typed):
            return row
    raise NotFound(f"there is no rollout {typed!r}", "", "mlops rollout list shows them")


def enter(ctx: Context, rollout: dict[str, Any], state: str, step: int, weight: float, text: str) -> None:
    """Write a transition down and tell everyone."""
    ctx.session.insert(
        "rollout_event", seq=ctx.next("rollout_event"), rollout_id=rollout["id"], state=state, step=step, weight=weight, text=text,
        actor=ctx.caller.name, ts_us=ctx.now,
    )  # fmt: skip
    ctx.emit("rollout", rollout["id"], state.lower(), f"{rollout['deployment']}: {text}", f"rollout:{rollout['id']}")
    ctx.wake("deploy.rollouts")


@implements(contract.rollout_start)
class StartRollout:
    """Begin to bring a version in."""

    def plan(self, ctx: Context, request: contract.StartRollout) -> Plan:
        """Check strategy, steps, and that nothing else is under way."""
        if request.strategy not in STRATEGIES:
            raise BadInput(f"there is no strategy {request.strategy!r}", "", "one of: " + ", ".join(STRATEGIES))
        if (
            any(not 0 < step < 100 for step in request.steps)
            or sorted(set(request.steps)) != request.steps
            or not request.steps
        ):
            raise BadInput(
                f"the steps {request.steps} cannot be taken",
                "weights rise and lie between 0 and 100 per cent",
                "--steps 5 --steps 25 --steps 50",
            )
        if unknown := set(request.events) - {"error", "wrong"}:
            raise BadInput(f"there is no event {sorted(unknown)[0]!r}", "", "one of: error, wrong")
        if request.on_no_data not in ("hold", "proceed", "rollback"):
            raise BadInput(f"on_no_data cannot be {request.on_no_data!r}", "", "one of: hold, proceed, rollback")
        row = deployments.find(ctx.session, ctx.tenant, request.deployment)
        if under_way := active(ctx.session, row["id"]):
            raise Conflict(
                f"a rollout of {row['name']} is {under_way[0]['state']}",
                "one at a time",
                f"mlops rollout abort {row['name']}",
            )
        now = traffic.current(ctx.session, row["id"])
        if now is None or any(share.role in ("A", "B") for share in now.split.shares):
            raise Conflict(
                f"an A/B test runs on {row['name']}", "its arms share the traffic", f"mlops ab stop {row['name']}"
            )
        version = resolve_version(ctx.session, ctx.tenant, request.model)
        stable = traffic.stable_no(now)
        serving = ctx.session.value(
            "SELECT version_id FROM revision WHERE deployment_id = ? AND no = ?", [row["id"], stable]
        )
        if serving == version["id"]:
            raise Conflict(f"{row['name']} serves {version['model']}@{version['version']} already")
        label = f"{version['model']}@{version['version']}"
        steps = (
            " → ".join(f"{step:g} %" for step in request.steps) if request.strategy == "canary" else request.strategy
        )
        change = Change(
            object=f"deploy:{row['name']}", field="serves", before=f"revision {stable}", after=f"{label} by {steps}"
        )
        return Plan(
            operation="rollout.start", object=f"deploy:{row['name']}", text=f"bring {label} into {row['name']} by {request.strategy}", changes=[change],
            data={"row": row, "version": version, "stable": stable},
        )  # fmt: skip

    def apply(self, ctx: Context, request: contract.StartRollout, plan: Plan) -> contract.Rollout:
        """Write the rollout and its first state."""
        row, stable = plan.data["row"], plan.data["stable"]
        canary = traffic.add_revision(ctx, row["id"], plan.data["version"])
        rollout = {"id": uuid7(), "deployment": row["name"]}
        ctx.session.insert(
            "rollout", id=rollout["id"], tenant=ctx.tenant, deployment_id=row["id"], strategy=request.strategy,
            spec=msgspec.json.encode(request).decode(), stable_no=stable, canary_no=canary, started_us=ctx.now, actor=ctx.caller.name,
        )  # fmt: skip
        enter(ctx, rollout, "Pending", -1, 0.0, plan.text)
        return shown(ctx, find(ctx, rollout["id"]))


@implements(contract.rollout_status)
def status(ctx: Context, request: contract.RolloutRef) -> contract.Rollout:
    """Show a rollout."""
    return shown(ctx, find(ctx, request.rollout))


class _Steer:
    """A person's word to a rollout under way: from these states into that one."""

    operation, verb, state = "", "", ""
    allowed: tuple[str, ...] = ()

    def plan(self, ctx: Context, request: contract.RolloutRef) -> Plan:
        """Check that the rollout can be steered so."""
        row = find(ctx, request.rollout)
        if row["state"] in TERMINAL or (self.allowed and row["state"] not in self.allowed):
            raise Conflict(
                f"the rollout of {row['deployment']} is {row['state']}",
                f"it cannot be {self.verb} now",
                f"mlops rollout status {row['deployment']}",
            )
        change = Change(object=f"rollout:{row['id']}", field="state", before=row["state"], after=self.state)
        return Plan(
            operation=self.operation,
            object=f"rollout:{row['id']}",
            text=f"the rollout of {row['deployment']} is {self.verb}",
            changes=[change],
            data=row,
        )

    def apply(self, ctx: Context, request: contract.RolloutRef, plan: Plan) -> Done:
        """Enter the state; the engine goes on from there."""
        enter(ctx, plan.data, self.state, plan.data["step"], plan.data["weight"], f"{plan.text} by {ctx.caller.name}")
        return Done(object=plan.object, text=plan.text)


@implements(contract.rollout_pause)
class Pause(_Steer):
    """Hold a rollout where it is."""

    operation, verb, state, allowed = "rollout.pause", "paused", "Paused", ("Shifting",)


@implements(contract.rollout_resume)
class Resume(_Steer):
    """Let a paused rollout go on."""

    operation, verb, state, allowed = "rollout.resume", "resumed", "Shifting", ("Paused",)


@implements(contract.rollout_promote)
class Promote(_Steer):
    """Give the new version all traffic now."""

    operation, verb, state, allowed = "rollout.promote", "promoted", "Promoting", ("Shifting", "Paused")


@implements(contract.rollout_abort)
class Abort(_Steer):
    """Give the stable version all traffic and end."""

    operation, verb, state = "rollout.abort", "aborted", "Aborting"


@implements(contract.rollout_rollback)
class Rollback:
    """Bring a deployment back to the revision that was stable before the one that is."""

    def plan(self, ctx: Context, request: contract.RollbackDeployment) -> Plan:
        """Find what was stable before."""
        row = deployments.find(ctx.session, ctx.tenant, request.deployment)
        if active(ctx.session, row["id"]):
            raise Conflict(f"a rollout of {row['name']} is under way", "", f"mlops rollout abort {row['name']}")
        splits = ctx.session.column(
            "SELECT split FROM traffic_event WHERE deployment_id = ? ORDER BY seq DESC", [row["id"]]
        )
        stable = [
            traffic.stable_no(
                traffic.Traffic(generation=0, split=msgspec.json.decode(one, type=traffic.Split), strategy="")
            )
            for one in splits
        ]
        before = next((no for no in stable if no != stable[0]), None)
        if before is None:
            raise Conflict(
                f"{row['name']} has served one version only",
                "there is nothing to go back to",
                f"mlops deploy show {row['name']}",
            )
        change = Change(object=f"deploy:{row['name']}", field="stable revision", before=stable[0], after=before)
        return Plan(
            operation="rollout.rollback", object=f"deploy:{row['name']}", text=f"{row['name']} goes back to revision {before}", changes=[change],
            data={"id": row["id"], "before": before},
        )  # fmt: skip

    def apply(self, ctx: Context, request: contract.RollbackDeployment, plan: Plan) -> Done:
        """Shift all traffic back."""
        traffic.shift(ctx, plan.data["id"], traffic.all_to(plan.data["before"]), "rollback", ctx.caller.reason)
        ctx.emit("deploy", plan.data["id"], "rolled back", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


def shown(ctx: Context, row: dict[str, Any]) -> contract.Rollout:
    """Return a rollout with its evidence and timeline."""
    spec = msgspec.json.decode(row["spec"], type=contract.StartRollout)
    looks = ctx.session.dicts(
        """SELECT step, look, event, epoch_us(ts) AS ts, bad_canary, n_canary, bad_stable, n_stable, log_e_harm, log_e_safe, verdict
           FROM rollout_look WHERE rollout_id = ? ORDER BY look DESC, event LIMIT 200""",
        [row["id"]],
    )
    events = ctx.session.dicts(
        "SELECT epoch_us(ts) AS ts, state, step, weight, text, actor FROM rollout_event WHERE rollout_id = ? ORDER BY seq",
        [row["id"]],
    )
    labels = dict(ctx.session.rows("SELECT no, label FROM revision WHERE deployment_id = ?", [row["deployment_id"]]))  # type: ignore[arg-type]
    return contract.Rollout(
        id=row["id"], deployment=row["deployment"], strategy=row["strategy"], state=row["state"], step=row["step"], steps=spec.steps,
        stable=labels[row["stable_no"]], canary=labels[row["canary_no"]], started=row["started_us"],
        ended=row["since"] if row["state"] in TERMINAL else None, actor=row["actor"], text=events[-1]["text"] if events else "",
        looks=[contract.Look(**look) for look in looks], events=[contract.RolloutEvent(**event) for event in events],
    )  # fmt: skip
