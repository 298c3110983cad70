"""The schedule of A/B tests: looks at what is new, tells when a verdict is reached, ends what cannot go on."""

from __future__ import annotations

import logging
from typing import Any

from mlops_tui.abtest import comparing
from mlops_tui.deploy import traffic
from mlops_tui.deploy.targets.reconcile import refusal
from mlops_tui.door import Caller, Context, House, act, every

log = logging.getLogger(__name__)
LOOK_S = 1.0


@every(LOOK_S, "abtest.look")
def turn(house: House) -> None:
    """Look at every running test; what one of them meets stops no other."""
    for row in house.memo.get(("ab.running",), ("ab", "deploy"), lambda: house.read(comparing.running)):
        try:
            if why := _over(house, row):
                _write(house, row, lambda ctx, row=row, why=why: stop(ctx, row, why))
            elif _news(house, row):
                _write(house, row, lambda ctx, row=row: _look(ctx, row))
        except Exception:
            log.exception("the A/B test %s: it will be tried again", row["name"])


def _over(house: House, row: dict[str, Any]) -> str:
    """Return why a test cannot go on; empty when it can."""
    if row["gone"]:
        return "the deployment was removed"
    why = refusal(house, row["deployment_id"])
    return f"the servers refuse the split: {why}" if why else ""


def _news(house: House, row: dict[str, Any]) -> bool:
    topics = ("ab", "deploy", "inference", "label")
    a, b = house.memo.get(
        ("ab.counts", row["id"]), topics, lambda: house.read(lambda s: comparing.count(s, row)), age_s=5.0
    )
    return a.labelled + b.labelled != int(row["n"])


def _look(ctx: Context, row: dict[str, Any]) -> None:
    result = comparing.look(ctx.session, row, ctx.now)
    if result.verdict != row["verdict"]:
        ctx.session.execute("UPDATE abtest SET verdict = ? WHERE id = ?", [result.verdict, row["id"]])
        ctx.emit("ab", row["id"], "judged", f"{row['name']}: {result.text}", f"ab:{row['id']}")
        ctx.house.guard.note(ctx, "ab.verdict", f"ab:{row['id']}", result.verdict, f"{row['name']}: {result.text}")


def stop(ctx: Context, row: dict[str, Any], why: str) -> str:
    """Take a last look, end a test, and give all traffic to what was stable before it; returns the verdict's text."""
    result = comparing.look(ctx.session, row, ctx.now)
    ctx.session.execute(
        "UPDATE abtest SET state = 'stopped', ended = make_timestamp(?), verdict = ? WHERE id = ?",
        [ctx.now, result.verdict, row["id"]],
    )
    if not row["gone"]:
        stable = traffic.stable_before(ctx.session, row["deployment_id"], row["generation"])
        split = traffic.all_to(row["a_no"] if stable is None else stable)
        traffic.shift(ctx, row["deployment_id"], split, "ab stopped", why)
    ctx.emit("ab", row["id"], "stopped", f"{row['name']} is stopped, {why}: {result.text}", f"ab:{row['id']}")
    return result.text


def _write(house: House, row: dict[str, Any], change: Any) -> None:
    """Make a change in one transaction, unless somebody has ended the test since we looked."""

    def unless_ended(ctx: Context) -> None:
        if ctx.session.value("SELECT state FROM abtest WHERE id = ?", [row["id"]]) == "running":
            change(ctx)

    act(house, Caller.system("A/B engine", row["tenant"]), unless_ended)
    house.touch("ab", row["id"], row["tenant"])
