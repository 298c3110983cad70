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
from mlops_tui.deploy.servers import Servers
from mlops_tui.plugins.hookspecs import DeployTarget, hook
from mlops_tui.plugins.loader import brought

LOCAL = "local"
PAUSE_S = 2.0
"""Seconds between two calls of a target for one deployment."""


class LocalTarget:
    """Servers of this machine. The reconciler reads more of them than these answers tell: split, lease, log."""

    name = LOCAL

    def start(self, deployment: Deployment, folder: Path) -> str:
        """Start the supervisor unless it runs."""
        servers = Servers(folder)
        if not servers.alive:
            servers.start()
        return deployment.url

    def stop(self, deployment: Deployment, folder: Path) -> None:
        """Have the servers drain."""
        Servers(folder).end()

    def healthy(self, deployment: Deployment, folder: Path) -> bool:
        """Tell whether requests are answered."""
        return Servers(folder).answers


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


def tended(target: DeployTarget, deployment: Deployment, folder: Path, generation: int) -> dict[str, Any]:
    """Bring the servers up and return what the store should say of them.

    A target that answers is taken to serve by the routes file as it was when it was asked.
    """
    url = urlsplit(target.start(deployment, folder))
    well = target.healthy(deployment, folder)
    return {
        "status": "serving" if well else "starting",
        "text": f"serving at {url.geturl()}" if well else f"{target.name} brings it up",
        "host": url.hostname or "",
        "port": url.port or {"http": 80, "https": 443}.get(url.scheme, 0),
        "acknowledged": max(0, generation) if well else 0,
    }


def stopped(target: DeployTarget, deployment: Deployment, folder: Path) -> dict[str, Any]:
    """End the servers; tell whether they are gone."""
    target.stop(deployment, folder)
    return {"gone": not target.healthy(deployment, folder)}
