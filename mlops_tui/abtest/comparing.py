"""A/B tests as the store has them: found, compared at any look, shown."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from mlops_tui.contracts import monitor as contract
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import NotFound
from mlops_tui.core.ids import matches
from mlops_tui.deploy import traffic
from mlops_tui.deploy.find import labels_of
from mlops_tui.serving.record.segments import MODEL_ERROR, OK
from mlops_tui.stats import abtest
from mlops_tui.stats.arms import Arm
from mlops_tui.store.session import Session

KEPT_LOOKS = 200
_ROWS = """
    SELECT t.*, epoch_us(t.started) AS started_us, epoch_us(t.ended) AS ended_us, d.name AS deployment,
           d.removed IS NOT NULL AS gone
    FROM abtest t JOIN deployment d ON d.id = t.deployment_id"""


class Counts(NamedTuple):
    """What one arm did: units that it got, those with a label, and the sums of how much of them it had right.

    A unit is what chance put on an arm: a request, or a client where clients stick. Its rows went there together.
    """

    exposed: int = 0
    labelled: int = 0
    right: float = 0.0
    squares: float = 0.0
    whole: bool = True

    @property
    def arm(self) -> Arm:
        """What the test takes; ``whole``: no unit was right in part."""
        return Arm(self.labelled, self.right, self.squares, self.whole)


def running(session: Session) -> list[dict[str, Any]]:
    """Return the tests that run, of all tenants."""
    return session.dicts(f"{_ROWS} WHERE t.state = 'running'")


def find(session: Session, tenant: str, typed: str) -> dict[str, Any]:
    """Return the row of the test that a person means: by name, id, or the newest of a deployment.

    Raises:
        NotFound: there is none.
    """
    for row in session.dicts(f"{_ROWS} WHERE t.tenant = ? ORDER BY t.started DESC", [tenant]):
        if typed in (row["name"], row["deployment"]) or matches(row["id"], typed):
            return row
    raise NotFound(f"there is no A/B test {typed!r}", "", "mlops ab list shows them")


def count(session: Session, row: dict[str, Any]) -> tuple[Counts, Counts]:
    """Return what A and B did between the moment the servers shared the traffic so and the test's end.

    A request that an arm failed on is that arm's all the same; what the other answered in its place is nobody's.
    """
    since = traffic.since(session, row["deployment_id"], row["generation"])
    if since is None:
        return Counts(), Counts()
    # Requests that named their version are no sample.
    within = (
        """deployment_id = ? AND NOT shadow AND NOT chosen AND ts >= make_timestamp(?) AND ts < make_timestamp(?)"""
    )
    params = [row["deployment_id"], since, row["ended_us"] or now_us()]
    sticks = bool(_asked(row).sticky)
    # A request that is sent again goes where it went: it is the same unit.
    units = "count(DISTINCT request_id)"
    if sticks:
        units = f"count(DISTINCT client) FILTER (client > 0) + {units} FILTER (client <= 0)"
    unit = "CASE WHEN client > 0 THEN client::VARCHAR ELSE 'q' || request END" if sticks else "request"
    exposed = session.rows(
        f"""SELECT revision_no, {units} FROM inference
            WHERE {within} AND "row" = 0 AND status IN ({OK}, {MODEL_ERROR}) GROUP BY 1""",
        params,
    )
    judged = session.rows(
        f"""SELECT revision_no, count(*), sum(x), sum(x * x), bool_and(x IN (0, 1)) FROM (
              SELECT revision_no, avg(((score >= 0.5) = (truth >= 0.5))::INTEGER) AS x FROM outcome
              WHERE {within} AND status = {OK} GROUP BY revision_no, {unit}) GROUP BY 1""",
        params,
    )
    seen, known = dict(exposed), {no: rest for no, *rest in judged}
    a, b = (Counts(seen.get(no, 0), *known.get(no, (0, 0))) for no in (row["a_no"], row["b_no"]))
    return a, b


def compare(row: dict[str, Any], a: Counts, b: Counts) -> abtest.Comparison:
    """Return the comparison of two arms as they stand."""
    spec = _asked(row)
    plan = abtest.Plan(margin=spec.margin, alpha=spec.alpha, share_b=spec.split / 100)
    return abtest.compare(a.arm, b.arm, plan, (a.exposed, b.exposed))


def _asked(row: dict[str, Any]) -> contract.StartAb:
    return msgspec.json.decode(row["spec"], type=contract.StartAb)


def look(session: Session, row: dict[str, Any], now: int) -> abtest.Comparison:
    """Compare, keep the look if it saw anything new, and return it."""
    result = compare(row, *count(session, row))
    if result.n_a + result.n_b == row["n"]:
        return result
    figures = {"difference": result.difference.value, "low": result.difference.low, "high": result.difference.high}
    session.insert(
        "abtest_look",
        abtest_id=row["id"],
        ts_us=now,
        n_a=result.n_a,
        n_b=result.n_b,
        mean_a=result.mean_a,
        mean_b=result.mean_b,
        **figures,
    )
    session.execute(
        "UPDATE abtest SET n = ?, difference = ?, low = ?, high = ? WHERE id = ?",
        [result.n_a + result.n_b, *figures.values(), row["id"]],
    )
    return result


def shown(session: Session, row: dict[str, Any]) -> contract.AbTest:
    """Return a test with its arms and looks."""
    counts = count(session, row)
    result = compare(row, *counts)
    labels = labels_of(session, row["deployment_id"])
    looks = session.rows(
        f"""SELECT n_a + n_b, difference, low, high FROM abtest_look
            WHERE abtest_id = ? AND low IS NOT NULL ORDER BY ts DESC LIMIT {KEPT_LOOKS}""",
        [row["id"]],
    )
    means = (result.mean_a, result.mean_b)
    arms = [
        contract.Arm(arm=arm, label=labels[row[key]], exposures=one.exposed, n=one.labelled, mean=mean)
        for arm, key, one, mean in zip("AB", ("a_no", "b_no"), counts, means, strict=True)
    ]
    return contract.AbTest(
        id=row["id"],
        name=row["name"],
        deployment=row["deployment"],
        metric=_asked(row).metric,
        state=row["state"],
        started=row["started_us"],
        ended=row["ended_us"],
        arms=arms,
        difference=result.difference.value,
        low=result.difference.low,
        high=result.difference.high,
        p_value=result.p_value,
        p_better=result.p_better,
        srm_p=result.split_p,
        verdict=result.verdict,
        text=result.text,
        needed=result.needed,
        looks=[[float(value) for value in one] for one in looks[::-1]],
    )
