"""The command line after ``:`` and the menu of actions on an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlops_tui.contracts import OPERATIONS
from mlops_tui.core.ids import opaque, short
from mlops_tui.tui import links
from mlops_tui.tui.actions import ACTIONS, Action
from mlops_tui.tui.drawing.theme import THEMES
from mlops_tui.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from mlops_tui.tui.app import MlopsApp


def ask(app: MlopsApp) -> None:
    """Open the command line on the present screen."""
    words = [*links.words(), "quit", *(f"theme {name}" for name in THEMES)]
    hint = "run:NAME  model:NAME@ALIAS  theme NAME  q"
    app.screen.mount(Prompt(":", "", lambda text: run(app, text), hint=hint, words=words))


def run(app: MlopsApp, text: str) -> None:
    """Do what a command says: leave, change the colours, or go where it leads."""
    word, _, rest = text.strip().lstrip(":").partition(" ")
    if word in ("q", "quit", "exit"):
        app.exit()
    elif word == "theme" and rest.strip() in THEMES:
        app.theme = rest.strip()
    elif word in ("help", "?"):
        app.act("help")
    elif word:
        app.open_link(text.strip().lstrip(":"))


async def offer(app: MlopsApp) -> None:
    """Show the actions of the object under the cursor, then the form and the plan of the one that is picked."""
    from mlops_tui.tui.widgets.form import Menu

    noun, names = app.face.subjects() or (app.face.SCOPE.removesuffix("s"), [])
    actions = tuple(a for a in ACTIONS.get(noun, ()) if _fits(a, len(names)))
    if not actions:
        app.face.complain(f"there is nothing to do with {f'{len(names)} at once' if len(names) > 1 else 'this'}")
        return

    def picked(index: int | None) -> None:
        if index is not None:
            action, (first, *also) = actions[index], names or [""]
            known: dict[str, Any] = {action.field: first} if action.field else {}
            plan(app, action.operation, {**known, "also": also} if _takes_many(action.operation) else known)

    title = f"{len(names)} {noun}s" if len(names) > 1 else f"{noun} {_known(names)}".strip()
    offered = [(action.operation, OPERATIONS[action.operation].help) for action in actions]
    await app.push_screen(Menu(title, offered, "plan_it"), picked)


def _known(names: list[str]) -> str:
    return "".join(short(name) if opaque(name) else name for name in names)


def _fits(action: Action, many: int) -> bool:
    """Tell whether an action can be done with so many objects; what makes something new is offered with one or none."""
    if not action.field:
        return many < 2
    return bool(many) and (many == 1 or _takes_many(action.operation))


def _takes_many(operation: str) -> bool:
    return "also" in OPERATIONS[operation].request.__struct_fields__


def plan(
    app: MlopsApp,
    operation: str,
    known: dict[str, Any],
    given: dict[str, str] | None = None,
    asked: Sequence[str] = (),
) -> None:
    """Ask for the fields that are not known, if there are any, and open the plan.

    Args:
        app: the app.
        operation: ``noun.verb``.
        known: fields of its request that are settled.
        given: what stands in other fields at first; a person sees it and may change it.
        asked: which of the other fields are asked for; default, all.
    """
    from mlops_tui.tui.widgets.form import Form, fields

    if all(field.name in known for field in fields(operation)):
        app.face.change(operation, known)
        return

    def filled(request: dict[str, Any] | None) -> None:
        if request is not None:
            app.face.change(operation, request)

    app.push_screen(Form(operation, known, asked, given or {}), filled)
