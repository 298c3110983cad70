"""What a feature's SQL may be: one pure scalar expression over declared columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
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
_PURE_MACROS = {"nullif"}
_EMPTY_PARTS = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")


def compiled(definition: FeatureDef) -> str:
    """Return the SQL that yields the feature as FLOAT.

    The expression stands on lines of its own, so that a comment in it cannot swallow what follows.
    """
    return f"CAST(CAST((\n{definition.expr}\n) AS {SQL_TYPES[definition.dtype]}) AS FLOAT)"


def check(
    con: Any, definitions: Sequence[FeatureDef], inputs: Mapping[str, str], forbidden: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Check definitions and return the input columns that each reads, by feature name, in the order of ``inputs``.

    Pure means that a row's value depends on that row alone: no aggregate, window, subquery, clock or random
    function; only then do a training set of a million rows and a request of one row agree.

    Raises:
        BadInput: an expression does not parse or bind, is not pure, or names a column that it may not use.
    """
    names = {column.casefold(): column for column in inputs}
    hidden = {column.casefold() for column in forbidden}
    reads, calls = {}, {}
    for definition in definitions:
        reads[definition.name], calls[definition.name] = _walk(con, definition, names, hidden)
    impure = _impure(con, set().union(*calls.values()))
    for definition in definitions:
        if found := calls[definition.name] & impure:
            raise _refused(definition, f"{min(found)}() is no function of one row alone")
    _bind(con, definitions, inputs)
    return {name: tuple(column for column in inputs if column in used) for name, used in reads.items()}


def _walk(con: Any, definition: FeatureDef, names: dict[str, str], hidden: set[str]) -> tuple[set[str], set[str]]:
    """Return the input columns and the functions that an expression uses."""
    used: set[str] = set()
    functions: set[str] = set()
    for node in _nodes(_parse(con, definition)):
        kind = str(node["class"])
        if kind not in _PLAIN_NODES:
            raise _refused(definition, f"it uses a {kind.lower()}, which depends on more than its own row")
        if kind == "FUNCTION":
            functions.add(node["function_name"])
        elif kind == "COLUMN_REF":
            used.add(_column(definition, node["column_names"], names, hidden))
    return used, functions


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


def _impure(con: Any, functions: set[str]) -> set[str]:
    """Return those functions that are no scalar functions, or give another result another time."""
    if not functions:
        return set()
    wanted = ", ".join(literal(name) for name in sorted(functions))
    found = con.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions()"
        f" WHERE function_name IN ({wanted}) AND NOT (function_type = 'scalar' AND stability = 'CONSISTENT')"
    ).fetchall()
    return {name for (name,) in found} - _PURE_MACROS


def _bind(con: Any, definitions: Sequence[FeatureDef], inputs: Mapping[str, str]) -> None:
    """Let the engine plan all expressions at once, and one by one only to find out which it does not accept."""
    import duckdb

    columns = ", ".join(f"CAST(NULL AS {kind}) AS {quote(name)}" for name, kind in inputs.items())
    source = f"FROM (SELECT {columns}) WHERE false"
    try:
        con.execute(f"SELECT {', '.join(map(compiled, definitions))} {source}").fetchall()
    except duckdb.Error as error:
        if len(definitions) == 1:
            raise _refused(definitions[0], plain(error)) from error
        for definition in definitions:
            _bind(con, [definition], inputs)
        raise BadInput("the features cannot be computed together", plain(error)) from error


def _refused(definition: FeatureDef, why: str) -> BadInput:
    return BadInput(
        f"feature {definition.name}@{definition.version} cannot be used",
        why,
        "mend its 'expr' in the feature file",
    )
