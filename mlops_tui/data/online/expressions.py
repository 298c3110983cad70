"""What a feature's SQL may be: one pure scalar expression over declared columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from mlops_tui.contracts.data import FeatureDef
from mlops_tui.core.errors import BadInput
from mlops_tui.data.online.duck import literal, plain, quote

SQL_TYPES = {"float": "DOUBLE", "int": "BIGINT", "bool": "BOOLEAN"}
_PLAIN_NODES = {
    "BETWEEN",
    "CASE",
    "CAST",
    "COLUMN_REF",
    "COMPARISON",
    "CONJUNCTION",
    "CONSTANT",
    "FUNCTION",
    "OPERATOR",
}
_EMPTY_PARTS = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")


def compiled(definition: FeatureDef) -> str:
    """Return the SQL that yields the feature as FLOAT.

    The expression stands on lines of its own, so that a comment in it cannot swallow what follows.
    """
    return f"CAST(CAST((\n{definition.expr}\n) AS {SQL_TYPES[definition.dtype]}) AS FLOAT)"


def check(con: Any, definition: FeatureDef, inputs: Mapping[str, str], forbidden: tuple[str, ...]) -> tuple[str, ...]:
    """Check one definition and return the input columns that it reads, in the order of ``inputs``.

    Pure means that a row's value depends on that row alone: no aggregate, window, subquery, clock or random
    function; only then do a training set of a million rows and a request of one row agree.

    Raises:
        BadInput: the expression does not parse or bind, is not pure, or names a column that it may not use.
    """
    tree = _parse(con, definition)
    names = {column.casefold(): column for column in inputs}
    hidden = {column.casefold() for column in forbidden}
    used: set[str] = set()
    functions: set[str] = set()
    for node in _nodes(tree):
        if node["class"] not in _PLAIN_NODES:
            raise _refused(
                definition, f"it uses a {str(node['class']).lower()}, which depends on more than its own row"
            )
        if node["class"] == "FUNCTION":
            functions.add(node["function_name"])
        elif node["class"] == "COLUMN_REF":
            used.add(_column(definition, node["column_names"], names, hidden))
    _pure(con, definition, functions)
    _bind(con, definition, inputs)
    return tuple(column for column in inputs if column in used)


def _parse(con: Any, definition: FeatureDef) -> dict[str, Any]:
    import orjson

    statement = f"SELECT {compiled(definition)}"
    tree = orjson.loads(con.execute(f"SELECT json_serialize_sql({literal(statement)})").fetchone()[0])
    if tree["error"]:
        raise _refused(definition, tree["error_message"])
    nodes = [statement["node"] for statement in tree["statements"]]
    if len(nodes) != 1 or nodes[0]["type"] != "SELECT_NODE":
        raise _refused(definition, "it is not one expression")
    node: dict[str, Any] = nodes[0]
    lone = len(node["select_list"]) == 1 and node["from_table"]["type"] == "EMPTY"
    if not lone or any(node.get(part) for part in _EMPTY_PARTS):
        raise _refused(definition, "it is not one expression")
    return node["select_list"][0]  # type: ignore[no-any-return]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for child in tree.values():
            yield from _nodes(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)


def _column(definition: FeatureDef, path: list[str], names: dict[str, str], hidden: set[str]) -> str:
    typed = ".".join(path)
    if typed.casefold() in hidden:
        raise _refused(definition, f"it reads {typed}, which the feature set forbids")
    if typed.casefold() not in names:
        close = difflib.get_close_matches(typed.upper(), [n.upper() for n in names.values()], 1)
        hint = f"; did you mean {close[0]}?" if close else f"; inputs are {', '.join(names.values())}"
        raise _refused(definition, f"{typed} is not an input column{hint}")
    return names[typed.casefold()]


def _pure(con: Any, definition: FeatureDef, functions: set[str]) -> None:
    if not functions:
        return
    wanted = ", ".join(literal(name) for name in sorted(functions))
    impure = con.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions()"
        f" WHERE function_name IN ({wanted}) AND NOT (function_type = 'scalar' AND stability = 'CONSISTENT')"
    ).fetchall()
    if impure:
        raise _refused(definition, f"{impure[0][0]}() depends on more than its own row")


def _bind(con: Any, definition: FeatureDef, inputs: Mapping[str, str]) -> None:
    import duckdb

    columns = ", ".join(f"CAST(NULL AS {kind}) AS {quote(name)}" for name, kind in inputs.items())
    try:
        con.execute(f"SELECT {compiled(definition)} FROM (SELECT {columns}) WHERE false").fetchall()
    except duckdb.Error as error:
        raise _refused(definition, plain(error)) from error


def _refused(definition: FeatureDef, why: str) -> BadInput:
    return BadInput(
        f"feature {definition.name}@{definition.version} cannot be used",
        why,
        "mend its 'expr' in the feature file",
    )
