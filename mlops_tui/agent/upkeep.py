"""What the agent does for itself: the audit chain is verified in the background, old answers are forgotten."""

from __future__ import annotations

import time

from mlops_tui.core.clock import DAY, now_us
from mlops_tui.door import Caller, Context, House, act, every
from mlops_tui.governance import audit
from mlops_tui.governance.chain import Verdict

EVERY_S, LIMIT_S = 60.0, 120.0
ANSWERS_US = 7 * DAY
REST = 50
"""Times as long as a verification took that the next one waits at least: a long chain costs 2 % of a core, not more."""

_rested: dict[str, float] = {}


@every(EVERY_S, "agent.verify")
def verify(house: House) -> None:
    """Verify the chain, note it among the facts, and tell when it breaks: Home must not do it while somebody waits."""
    key = str(house.home.data)
    if time.monotonic() < _rested.get(key, 0.0):
        return
    began = time.monotonic()
    found = house.read(lambda session: audit.verdict(Context(house, Caller.system(), session)), LIMIT_S)
    took = time.monotonic() - began
    _rested[key] = began + REST * took
    broke = not found.ok and house.facts.get("audit_ok") != 0.0
    house.facts.update(audit_ok=float(found.ok), audit_checked_us=float(now_us()), audit_verify_s=took)
    if broke:
        _tell(house, found)


def _tell(house: House, found: Verdict) -> None:
    text = f"the audit chain breaks at record {found.first_broken}: {found.why}"

    act(
        house,
        Caller.system("audit verification"),
        lambda ctx: ctx.emit("audit", str(found.first_broken), "broken", text, "audit"),
    )


@every(3600.0, "agent.retain")
def retain(house: House) -> None:
    """Forget the answers of calls that nobody will send again, and uploads that nobody will finish."""
    house.blobs.sweep()
    before = now_us() - ANSWERS_US
    old = "FROM request WHERE ts < make_timestamp(?)"
    if house.read(lambda session: session.value(f"SELECT count(*) {old}", [before])):
        house.store.write(lambda session: session.execute(f"DELETE {old}", [before]))
