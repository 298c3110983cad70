"""The palette: every action that holds here, every mode and theme, and objects found by the agent."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from mlops_tui.core.errors import MlopsError
from mlops_tui.core.ids import short
from mlops_tui.tui import keys
from mlops_tui.tui.drawing.theme import THEMES

if TYPE_CHECKING:
    from mlops_tui.tui.app import MlopsApp

_FOUND = ("run", "model", "data", "deploy", "ab", "job")
_MOST = 20


class MlopsCommands(Provider):
    """Actions from the table of keys, and entities from the store (20 at most)."""

    @property
    def mlops(self) -> MlopsApp:
        """The app, as its own type."""
        return cast("MlopsApp", self.app)

    def _actions(self) -> list[tuple[str, str, Any]]:
        face, status = self.mlops.face, self.mlops.status
        found = [
            (f"{key.help}  {keys.shown(key.first)}", key.id, partial(self.mlops.act, key.action))
            for key in keys.active(face.SCOPE, status.keymap, status.readonly)
            if key.id != "app.palette" and not (key.scope == "panel" and not key.hint)
        ]
        themes = [(f"theme {name}", "colours", partial(setattr, self.mlops, "theme", name)) for name in THEMES]
        return [*found, *themes]

    async def discover(self) -> Hits:
        """Yield what can be done here, before anything is typed."""
        for text, help_, act in self._actions():
            yield DiscoveryHit(text, act, help=help_)

    async def search(self, query: str) -> Hits:
        """Yield actions that match, then objects whose name does."""
        matcher = self.matcher(query)
        for text, help_, act in self._actions():
            if (score := matcher.match(text)) > 0:
                yield Hit(score, matcher.highlight(text), act, help=help_)
        if len(query) < 2:
            return
        found = await asyncio.gather(*(self._objects(noun, query) for noun in _FOUND))
        for text, link in [one for group in found for one in group][:_MOST]:
            yield Hit(max(0.5, matcher.match(text)), matcher.highlight(text), partial(self.mlops.open_link, link))

    async def _objects(self, noun: str, query: str) -> list[tuple[str, str]]:
        word = query.split()[-1].replace('"', "")
        try:
            table = await self.mlops.door.call(f"{noun}.list", {"filter": f'~"{word}"', "limit": 5})
        except MlopsError:
            return []
        names = [column.name for column in table.columns]
        at = names.index("name") if "name" in names else 0
        # A run's name may be used again; its id may not.
        by_id = noun in ("run", "job")
        return [
            (
                f"{noun} {row[at]}" + (f" {short(str(row[0]))}" if by_id else ""),
                f"{noun}:{row[0] if by_id else row[at]}",
            )
            for row in table.rows
        ]
