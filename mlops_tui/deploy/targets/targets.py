"""Places where models are served: this machine, or what a plugin brings; a plugin's may take its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlops_tui.contracts.deploy import Deployment
from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.deploy.targets.servers import Servers
from mlops_tui.plugins.hookspecs import DeployTarget, Observed, hook
from mlops_tui.plugins.loader import brought
from mlops_tui.serving import exposure

LOCAL = "local"
LOG_BYTES = 1 << 22
PAUSE_S = 2.0
"""Seconds between two calls of a target for one deployment."""


class LocalTarget:
    """Servers of this machine. The reconciler reads more of them than these answers tell: split, lease, log."""

    name = LOCAL

    def prepare(self, deployment: Deployment, folder: Path) -> None:
        """Start the supervisor unless it runs."""
        servers = Servers(folder)
        if not servers.alive:
            servers.start()

    def apply(self, deployment: Deployment, folder: Path) -> None:
        """Do nothing: the supervisor sees a changed file within a tenth of a second."""

    def observe(self, deployment: Deployment, folder: Path) -> Observed:
        """Read what the supervisor said last."""
        servers = Servers(folder)
        state, (epoch, generation) = servers.state, servers.at
        url = exposure.url(state["host"], state["port"], bool(state.get("tls"))) if state.get("port") else ""
        refused = str((state.get("refused") or {}).get("why", ""))
        text = "" if servers.alive or servers.coming else servers.last_words()
        return Observed(servers.answers, url, epoch, generation, refused, text)

    def logs(self, deployment: Deployment, folder: Path, lines: int) -> list[str]:
        """Read the end of the supervisor's log."""
        return Servers(folder).log(LOG_BYTES)[-lines:]

    def remove(self, deployment: Deployment, folder: Path) -> bool:
        """Have the servers drain."""
        return Servers(folder).end()


@hook
def mlops_deploy_targets() -> list[DeployTarget]:
    """Bring this machine."""
    return [LocalTarget()]


def target_of(name: str) -> DeployTarget:
    """Return a target.

    Raises:
        BadInput: nobody brings it.
    """
    known = brought("deploy_targets")
    if name not in known:
        raise BadInput(f"there is no target {name!r}", "", "one of: " + ", ".join(known))
    found: DeployTarget = known[name]
    return found


class Errand:
    """One call of a target, on a thread of its own: the reconciler never waits for somebody else's machines."""

    def __init__(self, call: Callable[[], dict[str, Any]]) -> None:
        self.told: dict[str, Any] | None = None
        self.begun = time.monotonic()
        self._call = call
        self._thread = threading.Thread(target=self._run, name="deploy-target", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether there is an answer, in ``told``."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.told = self._call()
        except Exception as error:
            why = str(error) if isinstance(error, MlopsError) else f"{type(error).__name__}: {error}"
            self.told = {"text": why, "failed": True}


_errands: dict[str, Errand] = {}


def ask(deployment: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Return what the last call for a deployment answered, and send the next in time; None while one is under way."""
    errand = _errands.get(deployment)
    if errand is not None and not errand.over:
        return None
    if errand is None or time.monotonic() - errand.begun >= PAUSE_S:
        _errands[deployment] = Errand(call)
    return errand.told if errand else None


def forget(deployment: str) -> None:
    """Forget a deployment that is gone."""
    _errands.pop(deployment, None)


def tended(target: DeployTarget, deployment: Deployment, folder: Path, at: tuple[int, int]) -> dict[str, Any]:
    """Bring the servers up, have them show the routes, and return what the store should say of them.

    Args:
        target: where they run.
        deployment: whose they are.
        folder: the deployment's.
        at: epoch and generation of the routes that were written last.
    """
    target.prepare(deployment, folder)
    target.apply(deployment, folder)
    seen = target.observe(deployment, folder)
    url = urlsplit(seen.url)
    words = seen.text or (f"serving at {seen.url}" if seen.ready else f"{target.name} brings it up")
    if seen.refused:
        words = f"serving the split before: the new one was refused, {seen.refused}" if seen.ready else seen.refused
    return {
        "status": "serving" if seen.ready else "down" if seen.refused else "starting",
        "text": words,
        "host": url.hostname or "",
        "port": url.port or {"http": 80, "https": 443}.get(url.scheme, 0),
        "acknowledged": seen.generation if seen.ready and (seen.epoch, seen.generation) == at else 0,
    }


def stopped(target: DeployTarget, deployment: Deployment, folder: Path) -> dict[str, Any]:
    """End the servers; tell whether they are gone."""
    return {"gone": target.remove(deployment, folder)}
