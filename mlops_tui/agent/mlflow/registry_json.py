"""Models and versions as the wire shows them, and how they are named in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mlops_tui.agent.mlflow.coding import encode
from mlops_tui.agent.mlflow.errors import WireError, invalid, missing
from mlops_tui.agent.mlflow.names import as_sent, check_name, too_long
from mlops_tui.core.errors import NotFound
from mlops_tui.registry.versions import aliases_by, find_model, resolve_version, versions_by_id
from mlops_tui.store.session import Session
from mlops_tui.store.tags import tags_by

MAX_TAG = 100_000


def models_json(session: Session, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return models with the newest version of each stage, with a handful of queries for all.

    Args:
        session: where to look.
        rows: of :func:`find_model`.
    """
    ids = [row["id"] for row in rows]
    latest = session.column(
        """SELECT id FROM model_version WHERE model_id IN (SELECT unnest(?)) AND deleted IS NULL
           QUALIFY row_number() OVER (PARTITION BY model_id, stage ORDER BY version DESC) = 1
           ORDER BY stage""",
        [ids],
    )
    found = versions_by_id(session, latest)
    tags = tags_by(session, [*ids, *latest])
    aliases = session.rows(
        """SELECT a.model_id, a.version_id, a.alias, v.version FROM alias a JOIN model_version v ON v.id = a.version_id
           WHERE a.model_id IN (SELECT unnest(?)) ORDER BY a.alias""",
        [ids],
    )
    shown: dict[str, list[dict[str, Any]]] = {one: [] for one in ids}
    for row in found:
        named = [alias for _, version, alias, _ in aliases if version == row["id"]]
        shown[row["model_id"]].append(_version_json(row, tags[row["id"]], named))
    return [
        _lean(
            {
                "name": row["name"],
                "creation_timestamp": row["created"] // 1000,
                "last_updated_timestamp": row["updated"] // 1000,
                "user_id": row["actor"],
                "description": row["description"],
                "latest_versions": shown[row["id"]],
                "tags": _pairs(tags[row["id"]]),
                "aliases": [
                    {"alias": alias, "version": str(number)}
                    for model, _, alias, number in aliases
                    if model == row["id"]
                ],
            }
        )
        for row in rows
    ]


def versions_json(session: Session, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return versions; a run that this store knows is named by its wire id.

    Args:
        session: where to look.
        rows: of :func:`resolve_version`.
    """
    ids = [row["id"] for row in rows]
    tags, aliases = tags_by(session, ids), aliases_by(session, ids)
    return [_version_json(row, tags[row["id"]], aliases.get(row["id"], [])) for row in rows]


def versions_encoded(session: Session, ids: Sequence[str]) -> list[msgspec.Raw]:
    """Return versions as JSON, in this order; those that nobody touched since they were last shown, as they were then.

    Args:
        session: where to look.
        ids: their ids.
    """

    def make(missing: list[str]) -> dict[str, bytes]:
        rows = versions_by_id(session, missing)
        return {row["id"]: encode(shown) for row, shown in zip(rows, versions_json(session, rows), strict=True)}

    found = session.kept.texts("model_version", ids, make) if session.kept else make(list(ids))
    return [msgspec.Raw(found[one]) for one in ids if one in found]


def _version_json(row: dict[str, Any], tags: dict[str, str], aliases: list[str]) -> dict[str, Any]:
    run = as_sent(row["run_id"] or "")
    return _lean(
        {
            "name": row["model"],
            "version": str(row["version"]),
            "creation_timestamp": row["created"] // 1000,
            "last_updated_timestamp": row["updated"] // 1000,
            "user_id": row["actor"],
            "current_stage": row["stage"],
            "source": row["source"] or (f"runs:/{run}" if run else ""),
            "status": "READY",
            "tags": _pairs(tags),
            "aliases": aliases,
        }
    ) | {"description": row["description"], "run_id": run, "run_link": row["run_link"]}


def model_row(session: Session, tenant: str, name: str | None) -> dict[str, Any]:
    """Return the row of the model of that name.

    Raises:
        WireError: no model can be called so, or none is.
    """
    try:
        return find_model(session, tenant, _exact(check_model_name(name)))
    except NotFound as error:
        raise missing(f"Registered Model with name={name} not found") from error


def version_row(session: Session, tenant: str, name: str | None, version: str | None) -> dict[str, Any]:
    """Return the row of a version by its model's name and its number.

    Raises:
        WireError: the number is none, or there is no such version.
    """
    number = version_number(version)
    try:
        return resolve_version(session, tenant, f"{_exact(check_model_name(name))}@{number}")
    except NotFound as error:
        raise missing(f"Model Version (name={name}, version={version}) not found") from error


def version_number(version: str | None) -> int:
    """Return the number of a version.

    Raises:
        WireError: it is none.
    """
    try:
        return int(version or "")
    except ValueError:
        raise invalid(f"Parameter 'version' must be an integer, got '{version}'.") from None


def check_model_name(name: str | None, path: str = "name") -> str:
    """Return the name of a model when one can be called so.

    Raises:
        WireError: none can.
    """
    if name is None or not name.strip():
        raise invalid(f"Missing value for required parameter '{path}'.")
    if "/" in name or ":" in name:
        raise invalid(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    return name


def check_tag(key: str | None, value: str | None) -> tuple[str, str]:
    """Return a tag of a model or a version when it can be kept.

    Raises:
        WireError: it cannot.
    """
    name = check_name(key or "", "key")
    if len(value or "") > MAX_TAG:
        raise too_long("value", MAX_TAG)
    return name, value or ""


def taken(name: str, *, prompt: bool, by_prompt: bool) -> WireError:
    """Return the error for a name that a model or a prompt has already."""
    new, old = ("Prompt" if one else "Registered Model" for one in (prompt, by_prompt))
    if new != old:
        text = f"Tried to create a {new.lower()} with name '{name}', but the name is already taken by a {old.lower()}."
        return WireError("RESOURCE_ALREADY_EXISTS", text)
    return WireError("RESOURCE_ALREADY_EXISTS", f"{new} (name={name}) already exists.")


def _exact(name: str) -> str:
    """Return a name for a search by name alone; what follows an ``@`` is no version here.

    Raises:
        NotFound: no model of ours has an ``@`` in its name.
    """
    if "@" in name:
        raise NotFound(f"there is no model {name!r}")
    return name


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _lean(values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that say something; MLflow leaves the others out."""
    return {key: value for key, value in values.items() if value not in ("", [], None)}
