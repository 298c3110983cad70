"""Telling people: every alert that opened or closed goes to each notifier once it is in the store, until it is told.

What was told is kept in the store, so an agent that was killed goes on where it stopped; one alert may then come twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.contracts.monitor import Alert
from mlops_tui.door import House, every
from mlops_tui.plugins.hookspecs import Notifier, hook
from mlops_tui.plugins.loader import brought
from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
LIMIT_S = 10.0
"""Seconds that a notifier may take for one alert."""
TRIES = 8
"""Times that an alert is offered, with pauses of 2, 4, 8 … seconds, before it is given up."""
_NEWS = "topic = 'alert' AND action IN ('opened', 'resolved') AND seq > ?"


class LogNotifier:
    """Tells the agent's log."""

    name = "log"

    def notify(self, alert: Alert) -> None:
        """Write one line."""
        log.info("alert %s (%s): %s", "closed" if alert.closed else "opened", alert.severity, alert.text)


@hook
def mlops_notifiers() -> list[Notifier]:
    """Bring the built-in notifier."""
    return [LogNotifier()]


@dataclass
class Try:
    """How it stands with a notifier that failed: attempts at one event, when to go on, the thread that hangs."""

    seq: int = 0
    tries: int = 0
    until: float = 0.0
    thread: threading.Thread | None = None


_done: dict[Path, int] = {}
_tries: dict[tuple[Path, str], Try] = {}


@every(2.0, "monitoring.notify")
def turn(house: House) -> None:
    """Offer what is new to every notifier; plugins are looked for only when there is something to tell."""
    done = _done.get(house.home.data)
    newest = house.memo.get(
        ("monitoring.notify", str(done)),
        ("alert",),
        lambda: house.read(lambda s: s.value(f"SELECT max(seq) FROM event WHERE {_NEWS}", [done or 0])),
    )
    if newest is None:
        _done.setdefault(house.home.data, 0)
        return
    marks = dict(house.read(lambda s: s.rows("SELECT name, told FROM notifier")))
    # A notifier that is new hears what happens from now on, not the whole past.
    begin = newest if done is None else done
    told = [_catch_up(house, one, marks.get(name, begin)) for name, one in brought("notifiers").items()]
    if all(told):
        _done[house.home.data] = newest
    elif done is None:
        _done[house.home.data] = min([newest, *marks.values()])


def _catch_up(house: House, notifier: Notifier, mark: int) -> bool:
    """Tell one notifier what it does not know yet, oldest first; return whether it knows everything now."""
    state = _tries.setdefault((house.home.data, notifier.name), Try())
    if time.monotonic() < state.until or (state.thread is not None and state.thread.is_alive()):
        return False
    told, all_told = mark, True
    for seq, alert in house.read(lambda s: _news(s, mark)):
        if not (all_told := _offer(notifier, seq, alert, state)):
            break
        told = seq
    house.store.write(
        lambda s: s.execute("INSERT OR REPLACE INTO notifier (name, told) VALUES (?, ?)", [notifier.name, told])
    )
    return all_told


def _offer(notifier: Notifier, seq: int, alert: Alert, state: Try) -> bool:
    """Offer one alert; return whether that is over: it was told, or failed too often."""
    state.tries = state.tries + 1 if state.seq == seq else 1
    state.seq = seq
    if not (why := _tell(notifier, alert, state)):
        return True
    state.until = time.monotonic() + 2.0**state.tries
    over = state.tries >= TRIES
    log.warning(
        "the notifier %s was not told of an alert: %s; %s: %s",
        notifier.name,
        why,
        "given up" if over else "it is tried again",
        alert.text,
    )
    return over


def _tell(notifier: Notifier, alert: Alert, state: Try) -> str:
    """Offer one alert on a thread of its own, which may hang without anybody else; return what went wrong."""
    failed: list[str] = []
    state.thread = threading.Thread(target=_attempt, args=(notifier.notify, alert, failed), daemon=True)
    state.thread.start()
    state.thread.join(LIMIT_S)
    if state.thread.is_alive():
        return f"no answer within {LIMIT_S:g} s"
    return "".join(failed)


def _attempt(notify: Callable[[Alert], None], alert: Alert, failed: list[str]) -> None:
    try:
        notify(alert)
    except Exception as error:
        failed.append(f"{type(error).__name__}: {error}")


def _news(session: Session, mark: int) -> list[tuple[int, Alert]]:
    rows = session.dicts(
        f"""SELECT e.seq, e.action, a.*, epoch_us(a.opened) AS opened_us, epoch_us(a.closed) AS closed_us
            FROM (SELECT seq, action, object FROM event WHERE {_NEWS}) e JOIN alert a ON a.id = e.object
            ORDER BY e.seq""",
        [mark],
    )
    return [(row["seq"], _alert(row)) for row in rows]


def _alert(row: dict[str, Any]) -> Alert:
    """Return an alert as it stood at the event: one that has closed since did open."""
    closed = row["action"] == "resolved"
    return Alert(
        **{name: row[name] for name in ("id", "rule", "subject", "severity", "acked_by", "text")},
        state="resolved" if closed else "open",
        opened=row["opened_us"],
        closed=row["closed_us"] if closed else None,
        detail=msgspec.json.decode(row["detail"]),
    )
