"""Models and their versions by what people call them, and what is told of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mlops_tui.contracts.model import GateResult, ModelVersion
from mlops_tui.core.errors import NotFound, Refused
from mlops_tui.door import refers
from mlops_tui.store.session import Session
from mlops_tui.store.tags import tags_by

_MODEL = """
SELECT * REPLACE (epoch_us(created) AS created, epoch_us(coalesce(updated, created)) AS updated) FROM model
"""
_VERSION = """
SELECT v.* REPLACE (epoch_us(v.created) AS created, epoch_us(coalesce(v.updated, v.created)) AS updated),
       m.name AS model
FROM model_version v JOIN model m ON m.id = v.model_id
"""
refers("SELECT digest FROM model_version")
TORCH = ("torchscript", "pt2")
"""Formats of files that torch runs."""
_LIVE = "m.deleted IS NULL AND v.deleted IS NULL"
LATEST_GATES = """
(SELECT * FROM gate_result QUALIFY row_number() OVER (PARTITION BY run_id, digest, gate ORDER BY ts DESC, id DESC) = 1)
"""
"""FROM clause: the newest verdict of each gate on each model file of each run."""


def find_model(session: Session, tenant: str, name: str, *, deleted: bool = False) -> dict[str, Any]:
    """Return a model's row by name or id; what follows an ``@`` is left out; times in µs.

    Args:
        session: where to look.
        tenant: whose models.
        name: ``employment``, ``employment@7`` or an id; ``model:`` before it is fine.
        deleted: look among those that are deleted, the last one first.

    Raises:
        NotFound: there is no such model.
    """
    return _split(session, tenant, name, deleted=deleted)[0]


def resolve_version(session: Session, tenant: str, reference: str, *, deleted: bool = False) -> dict[str, Any]:
    """Return the row of the version that a person means.

    Args:
        session: where to look.
        tenant: whose models.
        reference: ``employment`` (the newest version), ``employment@7``, ``employment@champion``, or a version's id;
            ``model:`` before it is fine.
        deleted: look among the model's deleted versions.

    Returns:
        The columns of ``model_version``, ``created`` and ``updated`` in µs, ``model``, the model's name, and ``gone``:
        a version is found by its id although it, or its model, is deleted.

    Raises:
        NotFound: no such model, version or alias.
    """
    reference = reference.strip().removeprefix("model:")
    among = f"m.deleted IS NULL AND v.deleted IS {'NOT ' if deleted else ''}NULL"
    row = session.dict(_VERSION + f"WHERE m.tenant = ? AND v.id = ? AND {among}", [tenant, reference])
    if row is not None:
        return row
    model, wanted = _split(session, tenant, reference)
    live = f"WHERE m.id = ? AND {among}"
    if not wanted or wanted == "latest":
        row = session.dict(_VERSION + f"{live} ORDER BY v.version DESC LIMIT 1", [model["id"]])
    elif wanted.isdecimal():
        row = session.dict(_VERSION + f"{live} AND v.version = ?", [model["id"], int(wanted)])
    else:
        alias = "SELECT version_id FROM alias WHERE model_id = ? AND alias = ?"
        row = session.dict(_VERSION + f"WHERE v.id = ({alias})", [model["id"], wanted])
    if row is None:
        what = "version" if not wanted or wanted.isdecimal() else "alias"
        what = f"deleted {what}" if deleted else what
        raise NotFound(
            f"{model['name']} has no {what} {wanted}".rstrip(), "", f"mlops model show {model['name']} shows them"
        )
    return row


def names_version(session: Session, tenant: str, reference: str) -> bool:
    """Tell whether a reference means one version (``employment@7``, a version's id) and not the model as a whole.

    Raises:
        NotFound: it means neither.
    """
    reference = reference.strip().removeprefix("model:")
    if session.value("SELECT count(*) > 0 FROM model_version WHERE id = ?", [reference]):
        return True
    return bool(_split(session, tenant, reference)[1])


def _split(session: Session, tenant: str, reference: str, *, deleted: bool = False) -> tuple[dict[str, Any], str]:
    """Return the model's row and what stands after the ``@``."""
    name, _, wanted = reference.strip().removeprefix("model:").partition("@")
    row = session.dict(
        f"""{_MODEL} WHERE tenant = $tenant AND (name = $name OR id = $name)
            AND deleted IS {"NOT " if deleted else ""}NULL ORDER BY name = $name DESC, deleted DESC LIMIT 1""",
        {"tenant": tenant, "name": name},
    )
    if row is None:
        raise NotFound(f"there is no {'deleted ' * deleted}model {name!r}", "", "mlops model list shows them")
    return row, wanted


def refuse_unservable(row: dict[str, Any]) -> None:
    """Return when our servers can run a version.

    Raises:
        Refused: they cannot; the reason says what it is.
    """
    engine_of(row)


def engine_of(row: dict[str, Any]) -> str:
    """Return what runs a version: ``onnx`` in the server itself, ``torch`` or ``pyfunc`` in a process of its own.

    Raises:
        Refused: nothing does; the reason says what it is.
    """
    if row["format"] == "onnx":
        return "onnx"
    if row["format"] in TORCH:
        return "torch"
    flavors = msgspec.json.decode(row["signature"]).get("flavors", []) if row["format"] == "mlflow" else []
    if "pytorch" in flavors:
        return "torch"
    if "python_function" in flavors:
        return "pyfunc"
    kept = {
        "mlflow": f"it is an MLflow model that Python cannot run: {', '.join(flavors)}",
        "files": "it is a folder of files",
        "elsewhere": f"its files lie elsewhere: {row['source']}",
    }
    raise Refused(
        f"{label(row)} cannot be served", kept.get(row["format"], f"it is {row['format']}"), "export it to ONNX"
    )


def label(row: dict[str, Any]) -> str:
    """Return what people call a version: ``employment@3``."""
    return f"{row['model']}@{row['version']}"


def versions_of(session: Session, model: str) -> list[dict[str, Any]]:
    """Return the rows of all versions of a model (its id), newest first."""
    return session.dicts(_VERSION + f"WHERE m.id = ? AND {_LIVE} ORDER BY v.version DESC", [model])


def models_by_id(session: Session, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of models in the order of their ids."""
    found = {row["id"]: row for row in session.dicts(_MODEL + "WHERE id IN (SELECT unnest(?))", [list(ids)])}
    return [found[one] for one in ids if one in found]


def versions_by_id(session: Session, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of versions in the order of their ids."""
    found = {row["id"]: row for row in session.dicts(_VERSION + "WHERE v.id IN (SELECT unnest(?))", [list(ids)])}
    return [found[one] for one in ids if one in found]


def latest_gates(session: Session, run: str, digest: str) -> list[GateResult]:
    """Return the newest verdict of each gate on one model file of a run, by name."""
    return [_gate(row) for row in _gates_of(session, [run]) if row["digest"] == digest]


def shown(session: Session, rows: Sequence[dict[str, Any]]) -> list[ModelVersion]:
    """Return versions whole, with a handful of queries for all of them.

    Args:
        session: where to look.
        rows: rows of :func:`resolve_version` or :func:`versions_of`.
    """
    ids, runs = [row["id"] for row in rows], [row["run_id"] for row in rows if row["run_id"]]
    within = "IN (SELECT unnest(?))"
    names = dict(session.rows(f"SELECT id, name FROM run WHERE id {within}", [runs]))
    data = _grouped(session.rows(f"SELECT DISTINCT run, name FROM run_data WHERE run {within} ORDER BY name", [runs]))
    served = _grouped(
        session.rows(
            f"""SELECT DISTINCT r.version_id, d.name FROM revision r JOIN deployment d ON d.id = r.deployment_id
                WHERE r.version_id {within} AND d.removed IS NULL ORDER BY d.name""",
            [ids],
        )
    )
    gates = _grouped(((one["run_id"], one["digest"]), _gate(one)) for one in _gates_of(session, runs))
    aliases, tags = aliases_by(session, ids), tags_by(session, ids)
    signatures = {row["id"]: msgspec.json.decode(row["signature"]) for row in rows}
    files = dict(session.rows(f"SELECT run, count(*) FROM run_artifact WHERE run {within} GROUP BY run", [ids]))
    return [
        ModelVersion(
            id=row["id"], model=row["model"], version=row["version"], run=row["run_id"],
            run_name=names.get(row["run_id"], ""), digest=row["digest"], size=row["size"],
            format=row["format"], created=row["created"], actor=row["actor"],
            description=row["description"],
            signature=signatures[row["id"]],
            metrics=msgspec.json.decode(row["metrics"]),
            aliases=aliases.get(row["id"], []),
            gates=gates.get((row["run_id"], row["digest"]), []),
            datasets=data.get(row["run_id"], []),
            features=features_of(signatures[row["id"]]),
            deployments=served.get(row["id"], []),
            tags=tags[row["id"]], stage=row["stage"], source=row["source"], run_link=row["run_link"],
            logged=row["logged_id"], updated=row["updated"], files=files.get(row["id"], 0),
        )
        for row in rows
    ]  # fmt: skip


def aliases_by(session: Session, versions: Sequence[str]) -> dict[str, list[str]]:
    """Return the aliases that point at each version, by its id; one that has none is left out."""
    return _grouped(
        session.rows(
            "SELECT version_id, alias FROM alias WHERE version_id IN (SELECT unnest(?)) ORDER BY alias",
            [list(versions)],
        )
    )


def _grouped(pairs: Iterable[tuple[Any, ...]]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def features_of(signature: dict[str, Any]) -> list[str]:
    """Return the names of the features that a model takes, from its signature; empty when it names none."""
    found = signature.get("features") or _listed(signature.get("metadata", {}).get("mlops.features", ""))
    if not isinstance(found, list):
        return []
    return [str(one.get("name", "") if isinstance(one, dict) else one) for one in found]


def _listed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return []


def _gates_of(session: Session, runs: list[str]) -> list[dict[str, Any]]:
    return session.dicts(
        f"SELECT * REPLACE (epoch_us(ts) AS ts) FROM {LATEST_GATES} WHERE run_id IN (SELECT unnest(?)) ORDER BY gate",
        [runs],
    )


def _gate(row: dict[str, Any]) -> GateResult:
    fields = {key: row[key] for key in ("gate", "passed", "value", "threshold", "text", "ts")}
    return GateResult(**fields, detail=msgspec.json.decode(row["detail"] or "{}"))
