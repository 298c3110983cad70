"""The reconciler: servers that should run do, with the split that is in force; looks at what is, each time."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from typing import Any

from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.core.paths import private_dir
from mlops_tui.deploy import traffic
from mlops_tui.door import House, every
from mlops_tui.serving.deployment import DEPLOYMENT, ROUTES, STATE, write_json
from mlops_tui.spool.process import boot_id, created_us, is_alive
from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
LEASE_S = 60
RENEW_S = 20
AGAIN_S = 3.0

_children: dict[str, subprocess.Popen[bytes]] = {}
_started: dict[str, float] = {}
_written: dict[str, tuple[int, int, int | None]] = {}


@every(0.5, "deploy.reconcile")
def turn(house: House) -> None:
    """Bring every deployment to what the store says."""
    rows = house.read(lambda s: s.dicts("SELECT * FROM deployment WHERE removed IS NULL OR pid IS NOT NULL"))
    for row in rows:
        if row["removed"] is not None:
            _end(house, row)
        else:
            _tend(house, row)


def _tend(house: House, row: dict[str, Any]) -> None:
    folder = private_dir(house.home.deployments / row["id"])
    if not (folder / DEPLOYMENT).exists():
        facts = {
            "deployment": row["id"],
            "name": row["name"],
            "host": row["host"],
            "port": row["port"],
            "workers": row["workers"],
            "spool": str(house.home.spool / row["id"]),
        }
        write_json(folder / DEPLOYMENT, facts, durable=True)
    _write_routes(house, row["id"])
    state = _state(folder)
    if not _lives(state):
        _start(row["id"], folder)
    _note(house, row, state)


def _write_routes(house: House, deployment: str) -> None:
    """Write the routes of the newest split; a leased one again before its lease runs out."""
    now = house.read(lambda s: traffic.current(s, deployment))
    if now is None:
        return
    epoch = house.started // SECOND
    before = _written.get(deployment)
    fresh = before is None or before[:2] != (epoch, now.generation)
    lease = now_us() + LEASE_S * SECOND if now.split.lease else None
    if not fresh and (lease is None or (before and before[2] and before[2] - now_us() > (LEASE_S - RENEW_S) * SECOND)):
        return
    revisions = house.read(lambda s: _revisions(s, house, deployment))
    shares = [{**revisions[share.no], "weight": share.weight, "role": share.role} for share in now.split.shares]
    stable = {**revisions[traffic.stable_no(now)], "weight": 100.0, "role": "stable"}
    routes = {
        "epoch": epoch,
        "generation": now.generation,
        "revisions": shares,
        "sticky": now.split.sticky,
        "fallback": stable["id"],
        "lease_until": lease,
        "lease_revert": [stable] if lease else None,
    }
    write_json(house.home.deployments / deployment / ROUTES, routes, durable=True)
    _written[deployment] = (epoch, now.generation, lease)


def _revisions(session: Session, house: House, deployment: str) -> dict[int, dict[str, Any]]:
    rows = session.dicts(
        "SELECT r.id, r.no, r.label, v.digest FROM revision r JOIN model_version v ON v.id = r.version_id WHERE r.deployment_id = ?",
        [deployment],
    )
    return {
        row["no"]: {
            "id": row["id"],
            "no": row["no"],
            "label": row["label"],
            "model": {"digest": row["digest"], "file": str(house.blobs.place(row["digest"]))},
        }
        for row in rows
    }


def _state(folder: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / STATE).read_bytes())
        return found
    except (OSError, ValueError):
        return {}


def _lives(state: dict[str, Any]) -> bool:
    """Tell whether the supervisor that wrote the state still runs; our own child may not have written it yet."""
    return bool(state) and is_alive(state["process"]) is True


def _start(deployment: str, folder: Any) -> None:
    child = _children.get(deployment)
    if child is not None and child.poll() is None:
        return
    if time.monotonic() - _started.get(deployment, -AGAIN_S) < AGAIN_S:
        return
    _started[deployment] = time.monotonic()
    sink = os.open(folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _children[deployment] = subprocess.Popen(
            [sys.executable, "-m", "mlops_tui.serving.supervisor", "--dir", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            cwd="/",
        )
    finally:
        os.close(sink)


def _note(house: House, row: dict[str, Any], state: dict[str, Any]) -> None:
    """Keep in the store what the servers say of themselves."""
    lives = _lives(state)
    ready = lives and bool(state.get("ready"))
    status = "serving" if ready else "starting" if lives or row["status"] == "starting" else "down"
    text = "serving" if ready else str(state.get("refused") or status)
    now = {
        "status": status,
        "text": text,
        "port": int(state.get("port") or row["port"]),
        "pid": int(state["pid"]) if lives else None,
        "proc_created": int(state["process"]["created"]) if lives else None,
        "boot": boot_id() if lives else "",
        "acknowledged": int(state.get("generation") or 0) if ready else row["acknowledged"],
    }
    if all(row[key] == value for key, value in now.items()):
        return
    columns = ", ".join(f"{key} = ?" for key in now)
    house.store.write(lambda s: s.execute(f"UPDATE deployment SET {columns} WHERE id = ?", [*now.values(), row["id"]]))
    house.touch("deploy", row["id"], row["tenant"])
    if now["acknowledged"] != row["acknowledged"]:
        house.wake("deploy.rollouts")


def _end(house: House, row: dict[str, Any]) -> None:
    """Ask the servers of a removed deployment to drain; forget them once they are gone."""
    alive = row["pid"] is not None and created_us(row["pid"]) == row["proc_created"]
    if alive:
        try:
            os.kill(row["pid"], signal.SIGTERM)
        except ProcessLookupError:
            alive = False
    if child := _children.get(row["id"]):
        child.poll()
    if not alive:
        house.store.write(lambda s: s.execute("UPDATE deployment SET pid = NULL WHERE id = ?", [row["id"]]))
