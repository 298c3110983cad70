"""What every target of deployments must do, as tests: ours pass them, and a plugin's are run against them.

A plugin's test module needs no more than::

    from mlops_tui.deploy.targets.contract import TargetContract

    class TestMine(TargetContract):
        def make(self):
            return MyTarget()

Each test works on a folder as the agent writes it, with models of one node, and asks the servers over HTTP.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mlops_tui.contracts.deploy import Deployment
from mlops_tui.core.ids import uuid7
from mlops_tui.plugins.hookspecs import DeployTarget, Observed
from mlops_tui.serving.deployment import DEPLOYMENT, ROUTES, write_json

# x (n, 1) → y (n, 1): ONNX files of one node, Identity and Neg, opset 18.
SAME = base64.b64decode(
    "CAoSADpBChAKAXgSAXkiCElkZW50aXR5EgFnWhQKAXgSDwoNCAESCQoDEgFuCgIIAWIUCgF5Eg8KDQgBEgkKAxIBbgoCCAFCBAoAEBI="
)
OPPOSITE = base64.b64decode(
    "CAoSADo8CgsKAXgSAXkiA05lZxIBZ1oUCgF4Eg8KDQgBEgkKAxIBbgoCCAFiFAoBeRIPCg0IARIJCgMSAW4KAggBQgQKABAS"
)
_T = TypeVar("_T")


class TargetContract:
    """Subclass it, say how the target is made, and let pytest collect it."""

    within_s = 60.0
    """Seconds that the servers may take for anything."""

    def make(self) -> DeployTarget:
        """Return the target."""
        raise NotImplementedError

    def test_servers_come_up_show_routes_and_go(self, tmp_path: Path) -> None:
        """Prepared twice they are there once; they show what is applied, and nothing is left of them."""
        place = Place(self.make(), tmp_path, self.within_s)
        try:
            place.target.prepare(place.deployment, place.folder)
            place.target.prepare(place.deployment, place.folder)
            assert not place.observe().ready, "there are no routes yet"
            place.routes(1, SAME)
            seen = place.until(lambda: place.shown(1))
            assert place.ask(seen, 3.0) == 3.0
            place.target.prepare(place.deployment, place.folder)
            place.routes(2, OPPOSITE)
            assert place.ask(place.until(lambda: place.shown(2)), 3.0) == -3.0
            assert place.target.logs(place.deployment, place.folder, 1) != []
            assert len(place.target.logs(place.deployment, place.folder, 1)) == 1
        finally:
            place.until(lambda: place.target.remove(place.deployment, place.folder))
        assert not place.observe().ready
        assert place.target.remove(place.deployment, place.folder), "to remove what is gone is no mistake"

    def test_servers_never_go_back_and_keep_what_works(self, tmp_path: Path) -> None:
        """An older route set is not shown, and one that cannot be served is refused with a reason."""
        place = Place(self.make(), tmp_path, self.within_s)
        try:
            place.routes(5, SAME)
            place.target.prepare(place.deployment, place.folder)
            place.until(lambda: place.shown(5))
            place.routes(4, OPPOSITE)
            place.until(lambda: place.observe().refused)
            place.routes(6, b"this is no model")
            seen = place.until(lambda: place.refuses("older"))
            assert seen.ready and (seen.epoch, seen.generation) == (1, 5), "the routes before go on answering"
            assert place.ask(seen, 3.0) == 3.0
            place.routes(7, OPPOSITE)
            seen = place.until(lambda: place.shown(7))
            assert not seen.refused and place.ask(seen, 3.0) == -3.0
        finally:
            place.until(lambda: place.target.remove(place.deployment, place.folder))


class Place:
    """A deployment's folder as the agent writes it, at one target."""

    def __init__(self, target: DeployTarget, base: Path, within_s: float) -> None:
        self.target, self._within_s, self._base = target, within_s, base
        identifier = uuid7()
        self.folder = base / identifier
        self.folder.mkdir(mode=0o700)
        self.deployment = Deployment(
            id=identifier, name="contract", target=target.name, environment="local", status="starting", url="",
            pid=None, created=0, actor="contract", generation=0, acknowledged=0, revisions=[], rollout=None, text="",
        )  # fmt: skip
        facts = {"deployment": identifier, "name": "contract", "spool": str(base / "spool"), "port": 0}
        write_json(self.folder / DEPLOYMENT, facts)

    def routes(self, generation: int, model: bytes) -> None:
        """Write a route set of one revision and apply it."""
        file = self._base / f"{generation}.onnx"
        file.write_bytes(model)
        revision = {"id": f"r{generation}", "no": generation, "label": f"v{generation}", "weight": 100.0}
        revisions = [{**revision, "role": "stable", "model": {"file": str(file)}}]
        write_json(self.folder / ROUTES, {"epoch": 1, "generation": generation, "revisions": revisions})
        self.target.apply(self.deployment, self.folder)

    def observe(self) -> Observed:
        """Look at the servers."""
        return self.target.observe(self.deployment, self.folder)

    def shown(self, generation: int) -> Observed | None:
        """Return what is seen, once the servers answer by a route set."""
        seen = self.observe()
        return seen if seen.ready and (seen.epoch, seen.generation) == (1, generation) else None

    def refuses(self, otherwise: str) -> Observed | None:
        """Return what is seen, once the servers refuse a route set for another reason than the last."""
        seen = self.observe()
        return seen if seen.refused and otherwise not in seen.refused else None

    def until(self, good: Callable[[], _T | None]) -> _T:
        """Wait for something."""
        deadline = time.monotonic() + self._within_s
        while not (found := good()):
            assert time.monotonic() < deadline, f"{self.observe()}"
            time.sleep(0.05)
        return found

    def ask(self, seen: Observed, value: float) -> Any:
        """Send one row and return what the model makes of it."""
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [value]}
        body = json.dumps({"inputs": [tensor]}).encode()
        request = urllib.request.Request(f"{seen.url}/v2/models/contract/infer", body)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=self._within_s) as answer:
            return json.load(answer)["outputs"][0]["data"][0]
