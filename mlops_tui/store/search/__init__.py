"""The one search language: read once, asked of the store as SQL.

People type ``status:done auc>0.9 (lr:1e-4..1e-2 or ~resnet) started>-7d``; MLflow's clients send
``metrics.auc > 0.9 AND params.lr = '0.1'``. Both are one grammar with one tree.

For a list of ours::

    query = parse("status:done loss.min<0.1")                # BadInput with a caret when it cannot be read
    sql, params = compile_query(query, resolver)             # a WHERE clause and its parameters

For the wire (``runs/search``, ``experiments/search`` …), where MLflow's rules hold::

    query = parse(filter_string, "mlflow")
    sql, params = compile_query(query, entity)               # entity: an Entity, see mlflow.py
    order = compile_order(parse_order(order_by, "mlflow"), entity, ["epoch_us(r.started) DESC", "r.id"])
    f"SELECT … FROM run r {order.joins} WHERE {sql} ORDER BY {order.by}", [*order.params, *params]

A resolver says what a key is: a :class:`Field`. Its values stand in the searched row (``Field("r.name")``) or in a
narrow table (``Field("value", table="param", owner="run", where="key = ?", params=(key,))``), which is asked by a
semi-join. Runs have theirs in ``mlops_tui.tracking.search.keys``.

Many runs are searched in a table in memory, by way of :func:`.rows.asked`; what a page shows comes from :mod:`.sheets`,
which are made ready first. Pages go on by keysets: ``order.token(row)`` and ``order.after(…)``.
"""

from __future__ import annotations

from mlops_tui.store.search.compiler import Condition, Field, Resolver, compile_query, field_of
from mlops_tui.store.search.mlflow import Entity
from mlops_tui.store.search.order import By, Order, bring, compile_order, parse_order
from mlops_tui.store.search.parser import as_key, parse, typed
from mlops_tui.store.search.tree import Compare, Key, Query

__all__ = [
    "By",
    "Compare",
    "Condition",
    "Entity",
    "Field",
    "Key",
    "Order",
    "Query",
    "Resolver",
    "as_key",
    "bring",
    "compile_order",
    "compile_query",
    "field_of",
    "parse",
    "parse_order",
    "typed",
]
