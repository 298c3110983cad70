"""The audit chain, verified again and again in the background, so that Home can say how it is without doing it."""

from __future__ import annotations

import time

from mlops_tui.door import Caller, Context, House, every
from mlops_tui.governance import audit
from mlops_tui.governance.chain import Verdict
from mlops_tui.store.session import Session

EVERY_S, LIMIT_S = 60.0, 120.0
REST = 50
"""Times as long as a verification took that the next one waits at least: a long chain costs 2 % of a core, not more."""

_rested: dict[str, float] = {}


@every(EVERY_S, "agent.verify")
def turn(house: House) -> None:
    """Verify the chain, note it among the facts, and tell when it breaks."""
    key = str(house.home.data)
    if time.monotonic() < _rested.get(key, 0.0):
        return
    began = time.monotonic()
    found = house.read(lambda session: audit.verdict(Context(house, Caller.system(), session)), LIMIT_S)
    took = time.monotonic() - began
    _rested[key] = began + REST * took
    broke = not found.ok and house.facts.get("audit_ok") != 0.0
    house.facts.update(audit_ok=float(found.ok), audit_checked_us=float(time.time_ns() // 1000), audit_verify_s=took)
    if broke:
        _tell(house, found)


def _tell(house: House, found: Verdict) -> None:
    def work(session: Session) -> Context:
        ctx = Context(house, Caller.system("audit verification"), session)
        ctx.emit(
            "audit",
            str(found.first_broken),
            "broken",
            f"the audit chain breaks at record {found.first_broken}: {found.why}",
            "audit",
        )
        return ctx

    house.feed.publish(house.store.write(work).events)
