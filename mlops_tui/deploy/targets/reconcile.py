"""The reconciler: servers that should run do, with the split that is in force; looks at what is, each time."""

from __future__ import annotations

import logging
import math
import time
from typing import Any, NamedTuple

import msgspec

from mlops_tui.contracts.deploy import Deployment
from mlops_tui.core import faults
from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.core.errors import MlopsError
from mlops_tui.core.paths import private_dir
from mlops_tui.deploy import fallback, own, traffic
from mlops_tui.deploy.find import asks_certificates
from mlops_tui.deploy.package import tuned
from mlops_tui.deploy.package.servable import features_of, model_of
from mlops_tui.deploy.targets import targets
from mlops_tui.deploy.targets.servers import Servers
from mlops_tui.door import Caller, Context, House, act, every
from mlops_tui.serving.deployment import DEPLOYMENT, FEATURES, ROUTES, read_routes, write_json
from mlops_tui.spool.process import boot_id
from mlops_tui.store.session import Session

log = logging.getLogger(__name__)


class Published(NamedTuple):
    """The routes that this agent wrote last for a deployment, and when their lease must be renewed (monotonic)."""

    epoch: int
    generation: int
    renew: float
    features: str = ""

    @property
    def at(self) -> tuple[int, int]:
        """What orders route sets."""
        return (self.epoch, self.generation)


WANTED = ("deploy", "rollout", "ab")
"""Topics of what may change deployments and splits. What is (processes, files) is looked at each time all the same."""
_ROWS = "SELECT * FROM deployment WHERE status <> 'removed'"
_published: dict[str, Published] = {}


@every(0.5, "deploy.reconcile")
def turn(house: House) -> None:
    """Bring every deployment to what the store says; what one of them meets stops no other."""
    rows = house.memo.get(("deploy.reconcile",), WANTED, lambda: house.read(lambda s: s.dicts(_ROWS)))
    for row in rows:
        try:
            if row["removed"] is None:
                _tend(house, row)
            else:
                _end(house, row)
        except MlopsError as error:
            log.warning("%s: %s", row["name"], error)
            _note(house, row, {"text": str(error)})
        except Exception:
            log.exception("%s: it will be tried again", row["name"])


def published(deployment: str) -> tuple[int, int]:
    """Return epoch and generation of the routes that were written last; (-1, -1) before the first."""
    found = _published.get(deployment)
    return found.at if found else (-1, -1)


def refusal(house: House, deployment: str) -> str:
    """Return why the servers do not take the split in force; empty when they do, or may."""
    return Servers(house.home.deployments / deployment).refusal(published(deployment))


def _tend(house: House, row: dict[str, Any]) -> None:
    folder = private_dir(house.home.deployments / row["id"])
    if not (folder / DEPLOYMENT).exists():
        facts = {name: row[name] for name in ("name", "host", "port", "workers")} | tuned.facts_of(row["tuned"] or "")
        spool = str(house.home.spool / row["id"])
        facts |= msgspec.json.decode(row["facts"] or "{}")
        write_json(folder / DEPLOYMENT, {"deployment": row["id"], **facts, "spool": spool}, durable=True)
    if row["target"] == targets.LOCAL and asks_certificates(row):
        own.have_certificate(folder)
    servers = Servers(folder)
    _write_routes(house, row, servers)
    if row["target"] != targets.LOCAL:
        _tend_elsewhere(house, row, servers)
        return
    if not servers.alive:
        servers.start()
    _note(house, row, _seen(row, servers))


def _tend_elsewhere(house: House, row: dict[str, Any], servers: Servers) -> None:
    """Have a plugin's target bring the servers up, and note what it says."""
    target, shown, at = targets.target_of(row["target"]), _shown(house, row), published(row["id"])
    told = targets.ask(row["id"], lambda: targets.tended(target, shown, servers.folder, at))
    if told is not None:
        news = {key: value for key, value in told.items() if key in row}
        _note(house, row, {**news, "status": "down"} if "failed" in told else news)


def _shown(house: House, row: dict[str, Any]) -> Deployment:
    from mlops_tui.deploy.deployments import shown

    def ask(session: Session) -> Deployment:
        ctx = Context(house, Caller.system("deploy reconciler", row["tenant"]), session)
        created = session.value("SELECT epoch_us(created) FROM deployment WHERE id = ?", [row["id"]])
        return shown(ctx, {**row, "created_us": created})

    return house.read(ask)


def _write_routes(house: House, row: dict[str, Any], servers: Servers) -> None:
    """Write the routes of the newest split; a leased one again before its lease runs out, and with newer features."""
    deployment = row["id"]
    table = house.memo.get(
        ("deploy.features", deployment), (*WANTED, "feature"), lambda: house.read(lambda s: features_of(s, row))
    )
    now = house.memo.get(
        ("deploy.split", deployment), WANTED, lambda: house.read(lambda s: traffic.current(s, deployment))
    )
    if now is None:
        return
    before = _published.get(deployment)
    epoch = _epoch(before, servers)
    if before is not None and before.features != (table["digest"] if table else ""):
        epoch = max(epoch, before.epoch + 1)  # the split is what it was: a new generation would be news to a rollout
    if before is not None and before.at == (epoch, now.generation) and time.monotonic() < before.renew:
        return
    lasts = _lasts(house, now.split)
    routes = house.read(lambda s: _routes(s, house, deployment, now, lasts))
    if table is not None:
        place = {"file": str(house.blobs.place(table["digest"])), "digest": table["digest"], "engine": FEATURES}
        routes |= {"features": place, "missing": table["missing"]}
    kind = "plain" if lasts is None else "leased"
    faults.point(f"routes:{kind}:before")
    write_json(servers.folder / ROUTES, {"epoch": epoch, "generation": now.generation, **routes}, durable=True)
    faults.point(f"routes:{kind}:after")
    renew = math.inf if lasts is None else time.monotonic() + lasts / 3
    _published[deployment] = Published(epoch, now.generation, renew, table["digest"] if table else "")


def _lasts(house: House, split: traffic.Split) -> float | None:
    """Return how many seconds a split may be shown without an agent; None when it needs none."""
    return (split.lease_s or float(house.config.get("deploy.lease_s"))) if split.lease else None


def _epoch(before: Published | None, servers: Servers) -> int:
    """Return the epoch of this agent's routes: above that of every earlier agent, whatever the clocks said.

    It rises again after a lease ran out, because a lease that was reverted cannot be renewed.
    """
    if before is not None:
        return before.epoch + 1 if servers.reverted and servers.at == before.at else before.epoch
    try:
        written = read_routes(servers.folder).epoch
    except MlopsError:
        written = -1
    return max(now_us() // SECOND, written + 1, servers.at[0] + 1)


def _routes(
    session: Session, house: House, deployment: str, now: traffic.Traffic, lasts: float | None
) -> dict[str, Any]:
    rows = session.dicts(
        "SELECT id, no, label, version_id, variant FROM revision WHERE deployment_id = ?", [deployment]
    )
    spare = fallback.current(session, deployment)
    wanted = {one.no for one in now.split.shares} | {now.split.stable, spare.to}
    known = {
        row["no"]: {
            **{name: row[name] for name in ("id", "no", "label")},
            "model": model_of(session, house.blobs, row["version_id"], row["variant"] or ""),
        }
        for row in rows
        if row["no"] in wanted
    }
    stable = {**known[now.split.stable], "weight": 100.0, "role": "stable"}
    routes = {
        "revisions": [{**known[one.no], "weight": one.weight, "role": one.role} for one in now.split.shares],
        "sticky": now.split.sticky,
        "fallback": stable["id"],
        "lease_until": None if lasts is None else now_us() + int(lasts * SECOND),
        "lease_s": lasts,
        "lease_revert": None if lasts is None else [stable],
    }
    return fallback.into_routes(routes, spare, known)


def _seen(row: dict[str, Any], servers: Servers) -> dict[str, Any]:
    """Return what the store should say of the servers."""
    status, text = _condition(row, servers)
    at, wanted = servers.at, published(row["id"])
    state, alive = servers.state, servers.alive
    return {
        "status": status,
        "text": text,
        "port": int(state.get("port") or row["port"]),
        "pid": int(state["pid"]) if alive else None,
        "proc_created": int(state["process"]["created"]) if alive else None,
        "boot": boot_id() if alive else "",
        "acknowledged": at[1] if servers.answers and at == wanted and not servers.reverted else 0,
    }


def _condition(row: dict[str, Any], servers: Servers) -> tuple[str, str]:
    """Return status and a sentence on how a deployment fares."""
    why = servers.refusal(published(row["id"]))
    if servers.answers:
        if why:
            return "serving", f"serving the split before: the new one was refused, {why}"
        if not servers.alive:
            return "serving", "serving; the supervisor is started again"
        return "serving", "the lease ran out: stable has all traffic" if servers.reverted else "serving"
    if why:
        return "down", why
    words = "" if servers.alive or servers.coming else servers.last_words()
    if words:
        return "down", words
    if servers.alive or servers.coming or row["status"] == "starting":
        return "starting", "starting"
    return "down", "its servers are gone; they are started again"


def _note(house: House, row: dict[str, Any], now: dict[str, Any]) -> None:
    """Keep in the store what is new, and tell of it."""
    news = {key: value for key, value in now.items() if row[key] != value}
    if not news:
        return

    def write(ctx: Context) -> None:
        session = ctx.session
        columns = ", ".join(f"{key} = ?" for key in news)
        session.execute(f"UPDATE deployment SET {columns} WHERE id = ?", [*news.values(), row["id"]])
        if news.get("acknowledged") and traffic.since(session, row["id"], news["acknowledged"]) is None:
            session.insert("traffic_ack", deployment_id=row["id"], generation=news["acknowledged"], ts_us=ctx.now)
        if news.get("status") in ("serving", "down"):
            words = f"{row['name']} is {now['status']}" + (f": {now['text']}" if now["status"] == "down" else "")
            ctx.emit("deploy", row["id"], now["status"], words, f"deploy:{row['name']}")

    act(house, Caller.system("deploy reconciler", row["tenant"]), write)
    house.touch("deploy", row["id"], row["tenant"])
    if "acknowledged" in news:
        house.wake("deploy.rollouts")


def _end(house: House, row: dict[str, Any]) -> None:
    """Have the servers of a removed deployment drain; note when they are gone."""
    folder = house.home.deployments / row["id"]
    if row["target"] != targets.LOCAL and folder.exists():
        target, shown = targets.target_of(row["target"]), _shown(house, row)
        told = targets.ask(row["id"], lambda: targets.stopped(target, shown, folder))
        if told is None or not told.get("gone"):
            return
    if Servers(folder).end():
        _published.pop(row["id"], None)
        targets.forget(row["id"])
        _note(house, row, {"status": "removed", "text": "removed", "pid": None, "proc_created": None})
