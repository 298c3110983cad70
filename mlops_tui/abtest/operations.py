"""Operations and list of A/B tests."""

from __future__ import annotations

import msgspec

from mlops_tui.abtest import comparing, engine
from mlops_tui.abtest.ahead import needs
from mlops_tui.contracts import monitor as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy import traffic
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.deploy.rollout import file as rollout_file
from mlops_tui.deploy.rollout.operations import refuse_busy
from mlops_tui.deploy.traffic import Share, Split
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import label, refuse_unservable, resolve_version
from mlops_tui.store.listing import Listing, lists

STICKY = "x-request-id"
NEEDS = "needs"

lists(
    Listing(
        noun="ab",
        source="abtest t JOIN deployment d ON d.id = t.deployment_id",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="deployment", label="deployment"),
            Column(name="state", label="state", kind="status"),
            Column(name="verdict", label="verdict", kind="status"),
            Column(name="difference", label="B − A", kind="float"),
            Column(name="low", label="low", kind="float"),
            Column(name="high", label="high", kind="float"),
            Column(name="n", label="judged", kind="int"),
            Column(name="started", label="started", kind="time"),
            Column(name="actor", label="by"),
        ],
        expressions={
            "id": "t.id",
            "name": "t.name",
            "deployment": "d.name",
            "state": "t.state",
            "verdict": "t.verdict",
            "difference": "t.difference",
            "low": "t.low",
            "high": "t.high",
            "n": "t.n",
            "started": "epoch_us(t.started)",
            "actor": "t.actor",
        },
        sort="-started",
        tenant="t.tenant",
    )
)


@implements(contract.ab_start)
class StartAb:
    """Share the traffic between two versions, by the hash of what clients stick by, or of each request's id."""

    def plan(self, ctx: Context, request: contract.StartAb) -> Plan:
        """Check the metric and the versions, and that nothing else shares the traffic."""
        if request.metric != "correct":
            raise BadInput(
                f"there is no metric {request.metric!r}", "this release compares by late labels", "--metric correct"
            )
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        refuse_busy(ctx, row)
        a, b = (resolve_version(ctx.session, ctx.tenant, one) for one in (request.a, request.b))
        if a["id"] == b["id"]:
            raise BadInput("A and B are the same version", f"both are {label(a)}", "name two versions")
        for one in (a, b):
            refuse_unservable(one)
        name = request.name or f"{row['name']}-v{a['version']}-v{b['version']}"
        stuck = rollout_file.stick_by(request.sticky)
        words = f"A {label(a)} {100 - request.split:g} %, B {label(b)} {request.split:g} %"
        return Plan(
            operation="ab.start",
            object=f"ab:{name}",
            text=f"A/B test {name}: {words}",
            changes=[
                Change(object=f"deploy:{row['name']}", field="traffic", after=words),
                Change(object=f"ab:{name}", field="counts", after=f"clients, by {stuck}" if stuck else "requests"),
                Change(
                    object=f"ab:{name}",
                    field=NEEDS,
                    after=needs(ctx.session, row["id"], request, bool(stuck), ctx.now),
                ),
            ],
            passing=[NEEDS],
            data={"deployment": row["id"], "a": a, "b": b, "name": name, "sticky": stuck or STICKY},
        )

    def apply(self, ctx: Context, request: contract.StartAb, plan: Plan) -> contract.AbTest:
        """Write the test and the split."""
        deployment, test = plan.data["deployment"], uuid7()
        a, b = (traffic.add_revision(ctx, deployment, plan.data[arm]) for arm in ("a", "b"))
        shares = [Share(no=a, role="A", weight=100 - request.split), Share(no=b, role="B", weight=request.split)]
        generation = traffic.shift(ctx, deployment, Split(shares=shares, sticky=plan.data["sticky"]), "ab", plan.text)
        ctx.session.insert(
            "abtest",
            id=test,
            tenant=ctx.tenant,
            name=plan.data["name"],
            deployment_id=deployment,
            spec=msgspec.json.encode(request).decode(),
            a_no=a,
            b_no=b,
            state="running",
            started_us=ctx.now,
            actor=ctx.caller.name,
            verdict="needs_more_data",
            generation=generation,
        )
        ctx.emit("ab", test, "started", plan.text, f"ab:{test}")
        return comparing.shown(ctx.session, comparing.find(ctx.session, ctx.tenant, test))


@implements(contract.ab_stop)
class StopAb:
    """End a test; what was stable before takes all traffic again."""

    def plan(self, ctx: Context, request: contract.AbRef) -> Plan:
        """Find the test, and who takes the traffic."""
        row = comparing.find(ctx.session, ctx.tenant, request.test)
        if row["state"] != "running":
            raise Conflict(f"the test {row['name']} is {row['state']} already", "", f"mlops ab status {row['name']}")
        stable = traffic.stable_before(ctx.session, row["deployment_id"], row["generation"])
        back = labels_of(ctx.session, row["deployment_id"])[row["a_no"] if stable is None else stable]
        return Plan(
            operation="ab.stop",
            object=f"ab:{row['name']}",
            text=f"stop the A/B test {row['name']}; {back} takes all traffic",
            changes=[Change(object=f"ab:{row['name']}", field="state", before="running", after="stopped")],
            data=row,
        )

    def apply(self, ctx: Context, request: contract.AbRef, plan: Plan) -> Done:
        """Take a last look and give the traffic back."""
        verdict = engine.stop(ctx, plan.data, f"by {ctx.caller.name}")
        return Done(object=plan.object, text=f"{plan.text}. {verdict}")


@implements(contract.ab_status)
def status(ctx: Context, request: contract.AbRef) -> contract.AbTest:
    """Show a test."""
    return comparing.shown(ctx.session, comparing.find(ctx.session, ctx.tenant, request.test))
