"""Arranging a list: its columns, order and filter as a person left them, and the views of it that were kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_tui.core.errors import MlopsError
from mlops_tui.tui import memory
from mlops_tui.tui.widgets.prompt import Prompt
from mlops_tui.tui.widgets.table import Table
from mlops_tui.tui.work import start

if TYPE_CHECKING:
    from mlops_tui.contracts.run import Run
    from mlops_tui.tui.screens.frame.browser import Browser
    from mlops_tui.tui.widgets.columns import Offered

_SCOPES = (("metrics", "metric"), ("params", "parameter"), ("tags", "tag"))
_LOOKED_AT = 5
"""Runs whose metrics, parameters and tags are offered as columns: the selected ones, or that under the cursor."""


def recall(table: Table, place: str) -> None:
    """Sort a list and lay out its columns as the person left them."""
    kept = memory.recall()
    table.sort = str(kept.get(f"sort.{place}") or table.sort)
    table.shape.chosen = tuple(map(str, kept.get(f"columns.{place}") or table.shape.chosen))


def remember(table: Table, place: str) -> None:
    """Keep order and columns for the next time."""
    memory.remember(f"sort.{place}", table.sort)
    memory.remember(f"columns.{place}", list(table.shape.chosen))


async def choose_columns(face: Browser, table: Table, noun: str, place: str) -> None:
    """Ask which columns a list shows, and show them."""
    from mlops_tui.tui.widgets.columns import ColumnChooser, Offered

    own = [Offered(one.name, one.label or one.name, "") for one in table.columns[2:]]
    known = {one.name for one in own}
    more = [one for one in await _keys_of_runs(face, table) if one.name not in known] if noun == "run" else []
    shown = table.shape.chosen or tuple(one.name for one in own)

    def done(chosen: list[str] | None) -> None:
        if chosen is not None:
            table.arrange_columns(() if chosen == [one.name for one in own] else tuple(chosen))
            remember(table, place)

    await face.app.push_screen(ColumnChooser([*own, *more], shown), done)


async def _keys_of_runs(face: Browser, table: Table) -> list[Offered]:
    from mlops_tui.tui.widgets.columns import Offered

    found: dict[str, Offered] = {}
    for row in table.chosen[:_LOOKED_AT]:
        try:
            run: Run = await face.door.call("run.show", {"run": row[0]})
        except MlopsError:
            continue
        curves = [metric.key for metric in run.metrics if metric.n > 1]
        keys = ([metric.key for metric in run.metrics], list(run.params), list(run.tags))
        for key in curves:
            found[f"metrics.{key}.curve"] = Offered(f"metrics.{key}.curve", f"{key} ▂▄▆", "curve of a metric")
        for (scope, kind), names in zip(_SCOPES, keys, strict=True):
            found.update({f"{scope}.{key}": Offered(f"{scope}.{key}", key, kind) for key in names})
    return sorted(found.values(), key=lambda one: (one.kind.rpartition(" ")[2], one.label))


async def choose_view(face: Browser, table: Table, place: str) -> None:
    """Offer the kept views of a list: show one, forget one, or keep the list as it is now."""
    from mlops_tui.tui.widgets.columns import ViewMenu

    views: dict[str, dict[str, Any]] = memory.recall().get(f"views.{place}") or {}

    def named(name: str) -> None:
        table.focus()
        if name.strip():
            now = {"columns": list(table.shape.chosen), "sort": table.sort, "filter": table.filter}
            memory.remember(f"views.{place}", {**views, name.strip(): now})

    def done(answer: tuple[str, str] | None) -> None:
        match answer:
            case ("show", name):
                _show(table, views[name])
                remember(table, place)
            case ("forget", name):
                memory.remember(f"views.{place}", {key: one for key, one in views.items() if key != name})
            case ("keep", _):
                start(face, ask)

    async def ask() -> None:
        await face.mount(Prompt("keep this view as", "", named, hint="a name for it"))

    await face.app.push_screen(ViewMenu({name: _told(view) for name, view in views.items()}), done)


def _show(table: Table, view: dict[str, Any]) -> None:
    table.sort, table.filter = str(view.get("sort") or ""), str(view.get("filter") or "")
    table.arrange_columns(tuple(map(str, view.get("columns") or ())))


def _told(view: dict[str, Any]) -> str:
    columns = view.get("columns") or []
    parts = [
        f"/{view['filter']}" if view.get("filter") else "",
        f"by {view['sort']}" if view.get("sort") else "",
        f"{len(columns)} columns" if columns else "",
    ]
    return " · ".join(part for part in parts if part)
