"""The one renderer: an answer onto stdout in the format that was asked for."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_tui.cli.answers.formats import FORMATS
from mlops_tui.cli.answers.shapes import Block, Facts, Grid, Lines, blocks_of
from mlops_tui.contracts.agent import Rows
from mlops_tui.contracts.listing import Table
from mlops_tui.contracts.operation import File
from mlops_tui.core.errors import BadInput
from mlops_tui.core.figures import size
from mlops_tui.core.kinds import label_of

if TYPE_CHECKING:
    from mlops_tui.cli.options import Wishes


def render(answer: Any, name: str, wishes: Wishes) -> None:
    """Print an answer.

    Args:
        answer: the answer of an operation, or a dictionary.
        name: the operation's name; JSON carries it as ``schema``.
        wishes: format and fields.

    Raises:
        BadInput: ``--fields`` names something that the answer does not have.
    """
    form = wishes.format
    if isinstance(answer, File) and (wishes.to or form not in ("json", "jsonl") or answer.name.endswith(".json")):
        hand_over(answer, wishes)
        return
    if form in ("json", "jsonl"):
        text = _json(answer, name, wishes.fields, lines=form == "jsonl")
    else:
        blocks = _only(blocks_of(answer), wishes.fields)
        if form == "table" and (sys.stdout.isatty() or wishes.color == "always"):
            from mlops_tui.cli.answers.screen import paint

            paint(blocks, wishes)
            return
        text = FORMATS[form](blocks)
    sys.stdout.write(text)
    sys.stdout.flush()


def hand_over(answer: File, wishes: Wishes) -> None:
    """Write a file where ``--to`` says, else onto stdout; a terminal gets text only.

    Raises:
        BadInput: it cannot be written there.
    """
    if wishes.to:
        path = Path(wishes.to).expanduser()
        try:
            path.write_bytes(answer.content)
        except OSError as error:
            raise BadInput(f"{path} cannot be written", error.strerror or str(error)) from error
        if not wishes.quiet:
            print(f"wrote {path} · {size(len(answer.content))}", file=sys.stderr)
    elif sys.stdout.isatty() and b"\0" in answer.content:
        raise BadInput("a terminal cannot show this file", f"{answer.name} is binary", f"--to {answer.name}")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(answer.content)
        sys.stdout.buffer.flush()


def document(answer: Any, name: str) -> dict[str, Any]:
    """Return an answer as its JSON document: ``schema`` is the operation and version, rows are objects.

    A field of the answer that is itself called ``schema`` appears as ``<noun>_schema``.
    """
    noun = name.partition(".")[0]
    head = {"schema": f"{name}/1"}
    if isinstance(answer, Table | Rows):
        grid = blocks_of(answer)[0]
        assert isinstance(grid, Grid)
        names = [column.name for column in grid.columns]
        rows = [dict(zip(names, row, strict=True)) for row in grid.rows]
        if isinstance(answer, Rows):
            return {**head, "columns": names, "truncated": answer.truncated, "rows": rows}
        return {**head, "noun": answer.noun, "total": answer.total, "rows": rows}
    if isinstance(answer, File):
        return {**head, "name": answer.name, **_content(answer.content)}
    body = dict(answer) if isinstance(answer, dict) else msgspec.to_builtins(answer)
    if "schema" in body:
        body = {(f"{noun}_schema" if key == "schema" else key): value for key, value in body.items()}
    return {**head, **body}


def _content(content: bytes) -> dict[str, str]:
    """Return a file's content as JSON carries it: text as it is, anything else in base64, which is said."""
    try:
        return {"content": content.decode()}
    except UnicodeDecodeError:
        return {"content": base64.b64encode(content).decode(), "encoding": "base64"}


def _json(answer: Any, name: str, fields: Sequence[str], *, lines: bool) -> str:
    found = document(answer, name)
    tabular = isinstance(answer, Table | Rows)
    if fields:
        targets = found["rows"] if tabular else [found]
        known = _columns(answer) if tabular else [key for key in found if key != "schema"]
        _check(fields, known)
        chosen = [{key: row[key] for key in fields} for row in targets]
        found = {**found, "rows": chosen} if tabular else {"schema": found["schema"], **chosen[0]}
    if lines:
        records = found["rows"] if tabular else [found]
        return "".join(msgspec.json.encode(record).decode() + "\n" for record in records)
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def _columns(answer: Any) -> list[str]:
    grid = blocks_of(answer)[0]
    assert isinstance(grid, Grid)
    return [column.name for column in grid.columns]


def _only(blocks: list[Block], fields: Sequence[str]) -> list[Block]:
    """Keep the fields that were asked for: columns of a lone grid, or facts and whole blocks by their names."""
    if not fields:
        return blocks
    wanted = [label_of(name) for name in fields]
    if len(blocks) == 1 and isinstance(grid := blocks[0], Grid):
        names = [column.name for column in grid.columns]
        _check(fields, names)
        places = [names.index(name) for name in fields]
        return [Grid(grid.title, [grid.columns[i] for i in places], [[row[i] for i in places] for row in grid.rows])]
    known: dict[str, Block] = {}
    for block in blocks:
        if isinstance(block, Facts) and not block.title:
            known |= {label: Facts("", [(label, kind, value)]) for label, kind, value in block.values}
        elif not isinstance(block, Lines):
            known[block.title] = block
    _check(wanted, list(known))
    return _joined([known[name] for name in wanted])


def _joined(blocks: list[Block]) -> list[Block]:
    joined: list[Block] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if isinstance(block, Facts) and isinstance(last, Facts) and not block.title and not last.title:
            last.values += block.values
        else:
            joined.append(block)
    return joined


def _check(fields: Sequence[str], known: Sequence[str]) -> None:
    for name in fields:
        if name not in known:
            raise BadInput(
                f"there is no field {name!r}", "", "--fields takes: " + ",".join(k.replace(" ", "_") for k in known)
            )
