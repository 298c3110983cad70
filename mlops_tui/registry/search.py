"""Models and versions as MLflow's clients search them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlops_tui.core.errors import BadInput
from mlops_tui.registry.lists import IS_PROMPT, PROMPT
from mlops_tui.store.search import Compare, Entity, Field, Query, compile_order, compile_query, parse, parse_order
from mlops_tui.store.search.tree import And
from mlops_tui.store.session import Session

_TAG = Field("value", table="tag", owner="object", where="key = ?")
_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_RUN = f"CASE WHEN regexp_full_match(v.run_id, '{_ID}') THEN replace(v.run_id, '-', '') ELSE coalesce(v.run_id, '') END"
_MODEL_TIMES = {"last_updated_timestamp": Field("epoch_ms(coalesce(m.updated, m.created))", "ms")}
_VERSION_TIMES = {
    "creation_timestamp": Field("epoch_ms(v.created)", "ms"),
    "last_updated_timestamp": Field("epoch_ms(coalesce(v.updated, v.created))", "ms"),
}
_MODEL = Entity("m.id", {"name": Field("m.name")}, tags=_TAG)
_MODEL_ORDER = Entity("m.id", {**_MODEL.attributes, **_MODEL_TIMES}, aliases={"timestamp": "last_updated_timestamp"})
_VERSION = Entity(
    "v.id",
    {
        "name": Field("m.name"),
        "version_number": Field("v.version", "int"),
        "run_id": Field(_RUN),
        "source_path": Field("v.source"),
    },
    tags=_TAG,
)
_VERSION_ORDER = Entity(
    "v.id", {name: _VERSION.attributes[name] for name in ("name", "version_number")} | _VERSION_TIMES
)
_NEWEST = ("last_updated_timestamp DESC", "name ASC", "version_number DESC")


def search_models(
    session: Session, tenant: str, filter: str, order: Sequence[str], limit: int, offset: int
) -> list[str]:
    """Return the ids of the models that a filter lets through, by name unless ordered otherwise.

    Raises:
        BadInput: filter or order cannot be read.
    """
    wanted = parse_order(order, "mlflow")
    for one in wanted:
        if _MODEL_ORDER.field(one.key) is None:
            raise BadInput(f"Invalid order by key {one.key.name!r} specified", "", "name or last_updated_timestamp")
    by = compile_order(wanted, _MODEL_ORDER, ["m.name"])
    query, prompts = _without_prompts(parse(filter, "mlflow"))
    condition = compile_query(query, _MODEL)
    found = session.kept_rows(
        f"""SELECT m.id FROM model m {by.joins}
            WHERE ({condition.sql}) AND m.tenant = ? AND m.deleted IS NULL {prompts}
            ORDER BY {by.by} LIMIT ? OFFSET ?""",
        [*by.params, *condition.params, tenant, limit, offset],
    )
    return [row[0] for row in found]


def search_versions(
    session: Session, tenant: str, filter: str, order: Sequence[str], limit: int, offset: int
) -> list[str]:
    """Return the ids of the versions that a filter lets through, those that changed last first.

    Raises:
        BadInput: filter or order cannot be read.
    """
    by = compile_order(parse_order(order or _NEWEST, "mlflow"), _VERSION_ORDER, ["m.name", "v.version DESC"])
    query, prompts = _without_prompts(parse(filter, "mlflow"))
    condition = compile_query(query, _VERSION)
    found = session.kept_rows(
        f"""SELECT v.id FROM model_version v JOIN model m ON m.id = v.model_id {by.joins}
            WHERE ({condition.sql}) AND m.tenant = ? AND m.deleted IS NULL AND v.deleted IS NULL {prompts}
            ORDER BY {by.by} LIMIT ? OFFSET ?""",
        [*by.params, *condition.params, tenant, limit, offset],
    )
    return [row[0] for row in found]


def _without_prompts(query: Query) -> tuple[Query, str]:
    """Return the filter, and the condition that leaves prompts out of what it finds unless it asks for them.

    No model says that it is no prompt, so a condition that wants just that is taken out.
    """
    asked = [one for one in query.comparisons() if one.key.scope == "tag" and one.key.name == PROMPT]
    if asked and _wants_prompts(asked[0]):
        return query, ""
    if asked and isinstance(query.root, And):
        query = replace(query, root=And(tuple(part for part in query.root.parts if part not in asked)))
    elif asked and query.root in asked:
        query = replace(query, root=And(()))
    return query, f"AND NOT EXISTS ({IS_PROMPT})"


def _wants_prompts(compare: Compare) -> bool:
    return (compare.op, compare.values[0].text.lower() if compare.values else "") in (("=", "true"), ("!=", "false"))
