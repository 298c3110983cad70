"""Long histories that are read page by page: put into order once, not once a page."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.spool import keeper
from mlops_tui.store.session import Session

KEPT_POINTS, KEPT_S = 2_000_000, 30.0
"""Points that are kept at most (48 MB), and seconds after the last page of them."""


class Values(NamedTuple):
    """The values of a series in the order of time, step and value; times in ms since 1970."""

    value: NDArray[np.float64]
    ms: NDArray[np.int64]
    step: NDArray[np.int64]


class Histories:
    """The series that were read last. One that has more points since is another one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], tuple[Values, float]] = OrderedDict()
        self._guard = threading.Lock()
        keeper.look_after(self)
        keeper.wake()

    def of(self, session: Session, sid: int, n: int) -> Values:
        """Return the values of a series.

        Args:
            session: where to read them.
            sid: the series.
            n: how many points it has.
        """
        with self._guard:
            if found := self._kept.get((sid, n)):
                self._kept[sid, n] = found[0], time.monotonic()
                return found[0]
        values = _read(session, sid)
        with self._guard:
            self._kept[sid, n] = values, time.monotonic()
            while sum(len(one.ms) for one, _ in self._kept.values()) > KEPT_POINTS and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return values

    def tick(self) -> None:
        """Let go of what nobody reads any more."""
        with self._guard:
            old = time.monotonic() - KEPT_S
            for name in [name for name, (_, used) in self._kept.items() if used < old]:
                del self._kept[name]

    def forget(self) -> None:
        """Let go of everything."""
        with self._guard:
            self._kept.clear()

    def forked(self) -> None:
        """Do nothing: no child of the agent reads histories."""


def _read(session: Session, sid: int) -> Values:
    found = session.columns("SELECT value, epoch_us(ts) // 1000 AS ms, step FROM point WHERE sid = ?", [sid])
    values = Values(*(np.asarray(found[name]) for name in Values._fields))
    if (np.diff(values.ms) > 0).all():  # logged one after the other, as nearly always
        return values
    order = np.lexsort((values.value, values.step, values.ms))
    return Values(values.value[order], values.ms[order], values.step[order])
