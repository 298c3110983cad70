"""Logged models as MLflow's clients search them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mlops_tui.core.errors import BadInput
from mlops_tui.store.search import Entity, Field, compile_query, parse
from mlops_tui.store.session import Session
from mlops_tui.tracking.search.keys import PARAM

_STATUS = "upper(l.status)"
_RUN = "replace(l.run_id, '-', '')"
_ATTRIBUTES = {
    "name": Field("l.name"),
    "model_id": Field("l.id"),
    "model_type": Field("l.kind"),
    "status": Field(_STATUS),
    "experiment_id": Field("(SELECT e.number::VARCHAR FROM experiment e WHERE e.id = l.experiment_id)"),
    "source_run_id": Field(_RUN),
    "creation_timestamp": Field("epoch_ms(l.created)", "ms"),
    "last_updated_timestamp": Field("epoch_ms(l.updated)", "ms"),
}
_ALIASES = {
    "creation_time": "creation_timestamp",
    "creation_timestamp_ms": "creation_timestamp",
    "last_updated_time": "last_updated_timestamp",
    "last_updated_timestamp_ms": "last_updated_timestamp",
}


class Data(NamedTuple):
    """A data set by name, by digest, or by both; what is empty may be anything."""

    name: str
    digest: str = ""

    def condition(self) -> tuple[str, list[str]]:
        """Return the condition on a row of ``logged_metric``, and its parameters."""
        said = {column: value for column, value in (("dataset", self.name), ("digest", self.digest)) if value}
        return " AND ".join(f"{column} = ?" for column in said) or "true", list(said.values())


class By(NamedTuple):
    """One key of an order; a metric's may be that on one data set."""

    field: str
    down: bool = False
    data: Data | None = None


def search_logged(
    session: Session,
    tenant: str,
    experiments: Sequence[str],
    filter: str,
    datasets: Sequence[Data],
    order: Sequence[By],
    limit: int,
    offset: int,
) -> list[str]:
    """Return the ids of the logged models that a filter lets through, the newest first unless ordered otherwise.

    Args:
        session: where to look.
        tenant: whose.
        experiments: ids of the experiments.
        filter: in MLflow's language.
        datasets: metrics count only where they were measured on one of these; none: all count.
        order: keys of the order.
        limit: how many at most.
        offset: how many to skip.

    Raises:
        BadInput: filter or order cannot be read.
    """
    parts = [data.condition() for data in datasets]
    on_data = " OR ".join(f"({sql})" for sql, _ in parts)
    names = [one for _, params in parts for one in params]
    measured = Field(
        "value", "float", table="logged_metric", owner="model_id", where=f"({on_data or 'true'}) AND key = ?",
        params=tuple(names), many=True,
    )  # fmt: skip
    entity = Entity(
        "l.id", _ATTRIBUTES, metrics={"last": measured}, params=PARAM,
        tags=Field("value", table="tag", owner="object", where="key = ?"), aliases=_ALIASES,
    )  # fmt: skip
    query = parse(filter, "mlflow")
    condition = compile_query(query, entity)
    where, params = [f"({condition.sql})"], [*condition.params]
    if datasets and not any(one.key.scope == "metric" for one in query.comparisons()):
        where.append(f"l.id IN (SELECT model_id FROM logged_metric WHERE {on_data})")
        params += names
    joins, by, joined = _order(order)
    return session.column(
        f"""SELECT l.id FROM logged_model l {joins} WHERE {" AND ".join(where)} AND l.tenant = ? AND l.deleted IS NULL
            AND l.experiment_id IN (SELECT unnest(?)) ORDER BY {by} LIMIT ? OFFSET ?""",
        [*joined, *params, tenant, list(experiments), limit, offset],
    )


def _order(order: Sequence[By]) -> tuple[str, str, list[str]]:
    """Return joins, ORDER BY list and the parameters of the joins; what has no value comes last."""
    joins, parts, params = [], [], []
    for n, by in enumerate(order):
        scope, dot, key = by.field.strip().partition(".")
        if not dot:
            name = _ALIASES.get(scope, scope)
            if name not in _ATTRIBUTES:
                raise BadInput(f"Invalid order by field name: {by.field}")
            value = _ATTRIBUTES[name].sql
        elif scope == "metrics":
            where, given = by.data.condition() if by.data else ("true", [])
            joins.append(
                f"""LEFT JOIN (SELECT model_id, arg_max(value, (ts, step)) AS value FROM logged_metric
                    WHERE key = ? AND {where} GROUP BY model_id) o{n} ON o{n}.model_id = l.id"""
            )
            params += [key.strip("`"), *given]
            value = f"o{n}.value"
        else:
            raise BadInput(f"Invalid order by field name: {by.field}. Only metrics are supported.")
        parts.append(f"{value} {'DESC' if by.down else 'ASC'} NULLS LAST")
    return " ".join(joins), ", ".join([*parts, "epoch_ms(l.created) DESC", "l.id"]), params
