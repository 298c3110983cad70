"""Operations, list and schedule of A/B tests."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import monitor as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.core.ids import matches, uuid7
from mlops_tui.deploy import deployments, rollouts, traffic
from mlops_tui.deploy.traffic import Share, Split
from mlops_tui.door import Context, House, every, implements
from mlops_tui.registry.versions import resolve_version
from mlops_tui.stats import abtest
from mlops_tui.stats.arms import Arm
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

STICKY = "x-request-id"
LOOK_S = 2.0
KEPT_LOOKS = 200

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
            Column(name="n", label="rows", kind="int"),
            Column(name="started", label="started", kind="time"),
            Column(name="actor", label="by"),
        ],
        expressions={
            "id": "t.id",
            "name": "t.name",
            "deployment": "d.name",
            "state": "t.state",
            "verdict": "t.verdict",
            **{
                name: f"(SELECT arg_max({column}, l.ts) FROM abtest_look l WHERE l.abtest_id = t.id)"
                for name, column in {
                    "difference": "l.difference",
                    "low": "l.low",
                    "high": "l.high",
                    "n": "l.n_a + l.n_b",
                }.items()
            },
            "started": "epoch_us(t.started)",
            "actor": "t.actor",
        },
        sort="-started",
        tenant="t.tenant",
    )
)


def find(session: Session, tenant: str, typed: str) -> dict[str, Any]:
    """Return the row of the test that a person means: by name, id, or the newest of a deployment.

    Raises:
        NotFound: there is none.
    """
    rows = session.dicts(
        """SELECT t.*, epoch_us(t.started) AS started_us, epoch_us(t.ended) AS ended_us, d.name AS deployment
           FROM abtest t JOIN deployment d ON d.id = t.deployment_id WHERE t.tenant = ? ORDER BY t.started DESC""",
        [tenant],
    )
    for row in rows:
        if typed in (row["name"], row["deployment"]) or matches(row["id"], typed):
            return row
    raise NotFound(f"there is no A/B test {typed!r}", "", "mlops ab list shows them")


@implements(contract.ab_start)
class StartAb:
    """Share the traffic between two versions, by the hash of each request's id."""

    def plan(self, ctx: Context, request: contract.StartAb) -> Plan:
        """Check the metric, the versions, and that nothing else shares the traffic."""
        if request.metric != "correct":
            raise BadInput(
                f"there is no metric {request.metric!r}", "this release compares by late labels", "--metric correct"
            )
        row = deployments.find(ctx.session, ctx.tenant, request.deployment)
        now = traffic.current(ctx.session, row["id"])
        if rollouts.active(ctx.session, row["id"]):
            raise Conflict(f"a rollout of {row['name']} is under way", "", f"mlops rollout status {row['name']}")
        if now is not None and any(share.role in ("A", "B") for share in now.split.shares):
            raise Conflict(f"an A/B test runs on {row['name']} already", "", f"mlops ab stop {row['name']}")
        a, b = (resolve_version(ctx.session, ctx.tenant, one) for one in (request.a, request.b))
        if a["id"] == b["id"]:
            raise BadInput("A and B are the same version", f"both are {a['model']}@{a['version']}", "name two versions")
        name = request.name or f"{row['name']}-v{a['version']}-v{b['version']}"
        words = f"A {a['model']}@{a['version']} {100 - request.split:g} %, B {b['model']}@{b['version']} {request.split:g} %"
        change = Change(object=f"deploy:{row['name']}", field="traffic", after=words)
        data = {"row": row, "a": a, "b": b, "name": name}
        return Plan(
            operation="ab.start", object=f"ab:{name}", text=f"A/B test {name}: {words}", changes=[change], data=data
        )

    def apply(self, ctx: Context, request: contract.StartAb, plan: Plan) -> contract.AbTest:
        """Write the test and the split."""
        row = plan.data["row"]
        a, b = (traffic.add_revision(ctx, row["id"], plan.data[arm]) for arm in ("a", "b"))
        test = uuid7()
        ctx.session.insert(
            "abtest", id=test, tenant=ctx.tenant, name=plan.data["name"], deployment_id=row["id"], spec=msgspec.json.encode(request).decode(),
            a_no=a, b_no=b, state="running", started_us=ctx.now, actor=ctx.caller.name, verdict="needs_more_data",
        )  # fmt: skip
        shares = [Share(no=a, role="A", weight=100 - request.split), Share(no=b, role="B", weight=request.split)]
        traffic.shift(ctx, row["id"], Split(shares=shares, sticky=STICKY), "ab", plan.text)
        ctx.emit("ab", test, "started", plan.text, f"ab:{test}")
        return shown(ctx, find(ctx.session, ctx.tenant, test))


@implements(contract.ab_stop)
class StopAb:
    """End a test; the control takes all traffic again."""

    def plan(self, ctx: Context, request: contract.AbRef) -> Plan:
        """Find the test."""
        row = find(ctx.session, ctx.tenant, request.test)
        if row["state"] != "running":
            raise Conflict(f"the test {row['name']} is {row['state']} already")
        change = Change(object=f"ab:{row['name']}", field="state", before="running", after="stopped")
        return Plan(
            operation="ab.stop",
            object=f"ab:{row['name']}",
            text=f"stop the A/B test {row['name']}",
            changes=[change],
            data=row,
        )

    def apply(self, ctx: Context, request: contract.AbRef, plan: Plan) -> Done:
        """Take a last look and give all traffic to A."""
        row = plan.data
        result = look(ctx.session, row, ctx.now)
        ctx.session.execute(
            "UPDATE abtest SET state = 'stopped', ended = make_timestamp(?), verdict = ? WHERE id = ?",
            [ctx.now, result.verdict, row["id"]],
        )
        traffic.shift(ctx, row["deployment_id"], traffic.all_to(row["a_no"]), "ab stopped", plan.text)
        ctx.emit("ab", row["id"], "stopped", f"{plan.text}: {result.text}", f"ab:{row['id']}")
        return Done(object=plan.object, text=f"{plan.text}: {result.text}")


@implements(contract.ab_status)
def status(ctx: Context, request: contract.AbRef) -> contract.AbTest:
    """Show a test."""
    return shown(ctx, find(ctx.session, ctx.tenant, request.test))


def compare(session: Session, row: dict[str, Any]) -> tuple[abtest.Comparison, tuple[int, int]]:
    """Return the comparison as it stands, and the exposures of A and B."""
    spec = msgspec.json.decode(row["spec"], type=contract.StartAb)
    rows = session.rows(
        """SELECT i.revision_no, count(DISTINCT i.request_id), count(l.truth), count(*) FILTER (WHERE (i.score >= 0.5) = (l.truth >= 0.5))
           FROM inference i LEFT JOIN label l ON l.deployment_id = i.deployment_id AND l.request_id = i.request_id AND l."row" = i."row"
           WHERE i.deployment_id = ? AND NOT i.shadow AND i.ts >= (SELECT min(ts) FROM inference WHERE deployment_id = ? AND revision_no = ? AND ts >= make_timestamp(?))
             AND i.ts < make_timestamp(?) GROUP BY 1""",
        [row["deployment_id"], row["deployment_id"], row["b_no"], row["started_us"], row["ended_us"] or now_us()],
    )
    found = {no: (exposed, n, right) for no, exposed, n, right in rows}
    a, b = (found.get(row[arm], (0, 0, 0)) for arm in ("a_no", "b_no"))
    plan = abtest.Plan(margin=spec.margin, alpha=spec.alpha, share_b=spec.split / 100)
    return abtest.compare(Arm.of_counts(a[2], a[1]), Arm.of_counts(b[2], b[1]), plan, (a[0], b[0])), (a[0], b[0])


def look(session: Session, row: dict[str, Any], now: int) -> abtest.Comparison:
    """Compare and keep the look."""
    result, _ = compare(session, row)
    session.insert(
        "abtest_look", abtest_id=row["id"], ts_us=now, n_a=result.n_a, n_b=result.n_b, mean_a=result.mean_a, mean_b=result.mean_b,
        difference=result.difference.value, low=result.difference.low, high=result.difference.high,
    )  # fmt: skip
    return result


@every(LOOK_S, "abtest.look")
def turn(house: House) -> None:
    """Look at every running test that has news; tell when a verdict is reached."""
    for row in house.read(
        lambda s: s.dicts(
            "SELECT *, epoch_us(started) AS started_us, epoch_us(ended) AS ended_us FROM abtest WHERE state = 'running'"
        )
    ):
        result, _ = house.read(lambda s, row=row: compare(s, row))  # type: ignore[misc]
        last = house.read(
            lambda s, row=row: s.row(
                "SELECT n_a, n_b FROM abtest_look WHERE abtest_id = ? ORDER BY ts DESC LIMIT 1", [row["id"]]
            )
        )  # type: ignore[misc]
        if last == (result.n_a, result.n_b) or not result.n_a + result.n_b:
            continue
        _keep(house, row)


def _keep(house: House, row: dict[str, Any]) -> None:
    from mlops_tui.door import Caller

    def keep(session: Session) -> Context:
        ctx = Context(house, Caller.system("A/B engine", row["tenant"]), session)
        result = look(session, row, ctx.now)
        if result.verdict != row["verdict"]:
            session.execute("UPDATE abtest SET verdict = ? WHERE id = ?", [result.verdict, row["id"]])
            ctx.emit("ab", row["id"], "judged", f"{row['name']}: {result.text}", f"ab:{row['id']}")
            house.guard.note(ctx, "ab.verdict", f"ab:{row['id']}", result.verdict, f"{row['name']}: {result.text}")
        return ctx

    ctx = house.store.write(keep)
    house.feed.publish(ctx.events)
    house.touch("ab", row["id"], row["tenant"])


def shown(ctx: Context, row: dict[str, Any]) -> contract.AbTest:
    """Return a test with its arms and looks."""
    result, exposures = compare(ctx.session, row)
    labels = dict(ctx.session.rows("SELECT no, label FROM revision WHERE deployment_id = ?", [row["deployment_id"]]))  # type: ignore[arg-type]
    looks = ctx.session.rows(
        "SELECT n_a + n_b, difference, low, high FROM abtest_look WHERE abtest_id = ? AND difference IS NOT NULL ORDER BY ts DESC LIMIT ?",
        [row["id"], KEPT_LOOKS],
    )
    arms = [
        contract.Arm(arm="A", label=labels[row["a_no"]], exposures=exposures[0], n=result.n_a, mean=result.mean_a),
        contract.Arm(arm="B", label=labels[row["b_no"]], exposures=exposures[1], n=result.n_b, mean=result.mean_b),
    ]
    spec = msgspec.json.decode(row["spec"], type=contract.StartAb)
    return contract.AbTest(
        id=row["id"], name=row["name"], deployment=row["deployment"], metric=spec.metric, state=row["state"], started=row["started_us"],
        ended=row["ended_us"], arms=arms, difference=result.difference.value, low=result.difference.low, high=result.difference.high,
        p_value=result.p_value, p_better=result.p_better, srm_p=result.split_p, verdict=result.verdict, text=result.text, needed=result.needed,
        looks=[[float(value) for value in one if value is not None] for one in looks[::-1]],
    )  # fmt: skip
