"""What a supervisor says of itself and its deployment: ``state.json``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mlops_tui import __version__
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import MlopsError
from mlops_tui.serving.deployment import STATE, Deployment, write_json
from mlops_tui.serving.process.changeover import Changeover
from mlops_tui.serving.process.engines import Engines
from mlops_tui.serving.process.fleet import Fleet
from mlops_tui.serving.record.columns import Columns
from mlops_tui.spool.process import this_process

_log = logging.getLogger("mlops.serving")


class Statement:
    """Keeps ``state.json`` true.

    Args:
        folder: the deployment's.
        deployment: its fixed facts.
        fleet: its workers.
        changeover: its routes.
        engines: the processes of its models.
        columns: where its revisions are counted.

    Attributes:
        said: what the file says.
    """

    def __init__(
        self,
        folder: Path,
        deployment: Deployment,
        fleet: Fleet,
        changeover: Changeover,
        engines: Engines,
        columns: Columns,
    ) -> None:
        self._folder, self._deployment = folder, deployment
        self._fleet, self._changeover, self._engines, self._columns = fleet, changeover, engines, columns
        self._identity = _identity()
        self.said: dict[str, Any] = {}

    def publish(self) -> None:
        """Write ``state.json`` when there is something new to say."""
        serving, changeover = self._fleet.serving, self._changeover
        at = min((seat.at for seat in serving if seat.at is not None), default=changeover.floor)
        state = {
            **self._identity,
            "version": __version__,
            "deployment": self._deployment.deployment,
            "host": self._deployment.host,
            "port": self._fleet.port,
            "tls": self._deployment.tls is not None,
            "epoch": at[0],
            "generation": at[1],
            "ready": bool(serving),
            "reverted": all(seat.reverted for seat in serving) if serving else changeover.reverted == at,
            "refused": changeover.refused,
            "workers": [
                {"slot": s.number, "process": s.process, "ready": s.serving, "restarts": max(0, s.starts - 1)}
                for s in self._fleet.seats
            ],
            "columns": self._columns.listed(),
            "models": self._conditions(),
            "engines": self._engines.known,
        }
        if state != self.said:
            try:
                write_json(self._folder / STATE, state)
                self.said = state
            except MlopsError as error:
                _log.error("%s", error)

    def _conditions(self) -> dict[str, dict[str, Any]]:
        """Return how each revision's engine fares, by its id: of several workers the one that fares worst."""
        found: dict[str, dict[str, Any]] = {}
        current = self._changeover.current
        for revision in current.everyone if current is not None else ():
            told = [one for seat in self._fleet.seats if (one := seat.conditions.get(revision.model.key))]
            if told:
                worst = min(told, key=lambda one: not one.get("why"))
                found[revision.id] = worst | self._engines.condition(revision.model.key)
        return found


def _identity() -> dict[str, Any]:
    """Return who this process is: ``create_time`` as psutil has it, ``process`` for :mod:`mlops_tui.spool.process`."""
    import psutil

    process = this_process()
    created = psutil.Process().create_time()
    return {"pid": process["pid"], "create_time": created, "process": process, "started_us": now_us()}
