"""A route set with its models loaded: who answers now, who when the lease runs out, and who for other models."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mlops_tui.core.clock import now_us
from mlops_tui.data.online.table import OnlineTable
from mlops_tui.serving.deployment import Revision, Routes
from mlops_tui.serving.models.holding import Holding
from mlops_tui.serving.models.lookup import Lookup
from mlops_tui.serving.record.columns import Column
from mlops_tui.serving.record.counters import Slot
from mlops_tui.serving.record.inference_log import InferenceLog
from mlops_tui.serving.traffic.routing import Arm, Router


class Plan:
    """What a worker does by a route set.

    Args:
        routes: the route set.
        held: its models, loaded.
        columns: where its revisions are counted.
        name: the deployment's.
        log: where predictions go, or None.
        slot: where look-ups are counted.
        salt: the secret by which clients get numbers, where routes stick to clients.

    Attributes:
        main: who answers.
        revert: who answers when the lease has run out; None without one.
        others: who answers for further models, by their names.
        lookups: how features are looked up, by the key of the model.
        reverted: the lease has run out, and ``revert`` answers.

    Raises:
        BadInput: the online features are not those of a model, or the last resort does not fit one.
    """

    def __init__(
        self,
        routes: Routes,
        held: Holding,
        columns: Sequence[Column],
        name: str,
        log: InferenceLog | None,
        slot: Slot,
        salt: bytes = b"",
    ) -> None:
        self._salt = salt
        self.routes, self._held, self._log = routes, held, log
        self._columns = {ident: column for column, ident, _ in columns}
        self.lookups = self._lookups(slot)
        self.main = self._router(name, routes.revisions, routes.fallback)
        self.revert = self._router(name, routes.lease_revert, None) if routes.lease_revert else None
        self.reverted = False
        # From here on the lease runs by a clock that nobody sets: one that is set back must not prolong it.
        self._ends = time.monotonic() + routes.left_s(now_us())
        self.others = {
            other: Router(routes.at, self._arms(other, revisions), None, None)
            for other, revisions in routes.others.items()
        }

    @property
    def overdue(self) -> bool:
        """Tell whether the lease has run out and was not reverted yet."""
        return self.revert is not None and not self.reverted and time.monotonic() >= self._ends

    def _lookups(self, slot: Slot) -> dict[str, Lookup]:
        routes = self.routes
        if routes.features is None:
            return {}
        table = OnlineTable(self._held.files[routes.features.key])
        return {
            key: Lookup(table, routes.missing, model.inputs, model.features, model.feature_set, slot)
            for key, model in self._held.models.items()
            if key in routes.models
        }

    def _router(self, name: str, revisions: tuple[Revision, ...], fallback: str | None) -> Router:
        routes = self.routes
        return Router(routes.at, self._arms(name, revisions), routes.sticky, fallback, routes.rescue, self._salt)

    def _arms(self, name: str, revisions: tuple[Revision, ...]) -> list[Arm]:
        return [self._arm(name, revision) for revision in revisions]

    def _arm(self, name: str, revision: Revision) -> Arm:
        model = self._held.models[revision.model.key]
        stream = self._log.stream(model.features, model.outputs) if self._log is not None else None
        return Arm(name, revision, model, self._columns[revision.id], stream)
