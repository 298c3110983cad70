"""Toggles as the store has them, and their way into the files that servers and users' code read.

The store's newest rows are what holds. The files are written right after the commit and looked at again by the
reconciler, so that an agent that died in between has only been late.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from mlops_tui.core.errors import MlopsError
from mlops_tui.core.jsonx import canonical
from mlops_tui.core.paths import private_dir
from mlops_tui.door import Context, House, every
from mlops_tui.serving.deployment import TOGGLES, write_json
from mlops_tui.store.session import Session
from mlops_tui.toggles import Definition, defined
from mlops_tui.toggles.binding import ANSWERS

EVALUATORS, METADATA = "$evaluators", "$metadata"
FIELDS = ("state", "variants", "defaultVariant", "targeting", "metadata")
_SCHEMA = "https://flagd.dev/schema/v0/flags.json"
log = logging.getLogger(__name__)
Content = dict[str, Any]


def rows(session: Session, tenant: str) -> dict[str, Any]:
    """Return every definition that holds, by its key, what belongs to the whole set included."""
    found = session.rows("SELECT key, definition FROM toggle WHERE tenant = ? ORDER BY key", [tenant])
    return {key: msgspec.json.decode(text) for key, text in found}


def content(found: Mapping[str, Any], deployment: str = "") -> Content:
    """Return a definition file's content.

    Args:
        found: definitions by key.
        deployment: only toggles that its servers ask.
    """
    flags = {
        key: flag
        for key, flag in found.items()
        if key not in (EVALUATORS, METADATA)
        and (not deployment or flag.get("metadata", {}).get("deployment") == deployment)
    }
    made: Content = {"$schema": _SCHEMA, "flags": flags}
    if shared := found.get(EVALUATORS):
        made[EVALUATORS] = shared["rules"]
    if said := found.get(METADATA):
        made["metadata"] = said["metadata"]
    return made


def current(session: Session, tenant: str) -> Definition:
    """Return the toggles that hold, ready to be asked."""
    return defined(content(rows(session, tenant)))


def switched_off(session: Session, tenant: str, deployment: str) -> str:
    """Return a sentence when a toggle stops answers of a deployment for everybody; empty when none does."""
    found = [
        f"revision {said['revision']} is switched off" if said.get("revision") else "switched off"
        for flag in rows(session, tenant).values()
        if (said := flag.get("metadata", {})).get("deployment") == deployment
        and said.get("controls") == ANSWERS
        and flag["state"] == "ENABLED"
        and not flag.get("targeting")
        and flag["variants"].get(flag.get("defaultVariant")) is False
    ]
    return ", ".join(sorted(found))


def write(ctx: Context, key: str, definition: Mapping[str, Any] | None) -> None:
    """Make a definition the one that holds; None removes it. The files follow the commit."""
    ctx.session.insert(
        "toggle_event",
        seq=ctx.next("toggle_event"),
        tenant=ctx.tenant,
        key=key,
        definition=None if definition is None else orjson.dumps(definition).decode(),
        actor=ctx.caller.name,
        reason=ctx.caller.reason,
        ts_us=ctx.now,
    )
    if not any(isinstance(step, _Publish) for step in ctx.after):
        ctx.after.append(_Publish(ctx.house, ctx.tenant))


class _Publish:
    """Brings the files of a tenant up to date; what fails is tried again by the reconciler."""

    def __init__(self, house: House, tenant: str) -> None:
        self._house, self._tenant = house, tenant

    def __call__(self) -> None:
        try:
            publish(self._house, self._tenant)
        except MlopsError as error:
            log.warning("toggles: %s; it will be tried again", error)


@every(2.0, "deploy.toggles")
def turn(house: House) -> None:
    """Bring every tenant's files to what the store says."""
    wanted = house.memo.get(("deploy.toggles",), ("toggle", "deploy"), lambda: house.read(_everybody))
    for tenant, found, deployments in wanted:
        _write(house, tenant, found, deployments)


def _everybody(session: Session) -> list[tuple[str, dict[str, Any], list[tuple[str, str]]]]:
    tenants = session.column("SELECT DISTINCT tenant FROM toggle_event")
    return [(tenant, rows(session, tenant), _deployments(session, tenant)) for tenant in tenants]


def publish(house: House, tenant: str) -> None:
    """Write a tenant's files that are not what the store says: for users' code, and for each deployment's servers."""
    _write(house, tenant, *house.read(lambda s: (rows(s, tenant), _deployments(s, tenant))))


def _write(house: House, tenant: str, found: Mapping[str, Any], deployments: list[tuple[str, str]]) -> None:
    _put(private_dir(house.home.toggles) / f"{tenant}.json", content(found))
    for identifier, name in deployments:
        folder = house.home.deployments / identifier
        own, path = content(found, name), folder / TOGGLES
        if folder.is_dir() and (own["flags"] or path.exists()):
            _put(path, own)


def _deployments(session: Session, tenant: str) -> list[tuple[str, str]]:
    wanted = "SELECT id, name FROM deployment WHERE tenant = ? AND removed IS NULL"
    return [(identifier, name) for identifier, name in session.rows(wanted, [tenant])]


def _put(path: Path, wanted: Content) -> None:
    try:
        if canonical(orjson.loads(path.read_bytes())) == canonical(wanted):
            return
    except (OSError, ValueError):
        pass
    write_json(path, wanted, durable=True)
