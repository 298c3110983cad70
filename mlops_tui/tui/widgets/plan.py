"""The dialog before every change: what it will do, who must approve, the command that it stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from mlops_tui.contracts import OPERATIONS, Change, Plan
from mlops_tui.core.errors import MlopsError
from mlops_tui.core.ids import opaque, short, shortened
from mlops_tui.core.printable import clean
from mlops_tui.tui.drawing.text import Line, Part, grid, line, wrap
from mlops_tui.tui.news.door import Door, command
from mlops_tui.tui.widgets.dialog import Choice, Choices, Dialog, Prose
from mlops_tui.tui.widgets.problem import told
from mlops_tui.tui.work import start

_SHOWN, _OF_ONE = 8, 16
"""Changes, warnings and lines of the command that are shown of a plan for many: its answers stay in sight."""


class PlanDialog(Dialog[Any]):
    """Plans an operation, shows the plan, and applies exactly that plan when told so.

    Args:
        door: the client.
        operation: ``noun.verb``.
        fields: its request.
        verb: the word on the button that does it.
        prod: it touches production, so the object's name must be typed.
    """

    DEFAULT_CSS = "PlanDialog #confirm { display: none; } PlanDialog.-asks #confirm { display: block; }"

    def __init__(
        self, door: Door, operation: str, fields: dict[str, Any], *, verb: str = "", prod: bool = False
    ) -> None:
        super().__init__(classes="-danger" if prod else "")
        self._door, self.operation, self.fields, self.prod = door, operation, fields, prod
        self.verb = verb or OPERATIONS[operation].verb
        self.plan: Plan | None = None
        self.problem: MlopsError | None = None
        self._busy = "planning …"

    def compose(self) -> ComposeResult:
        """Lay out plan, confirmation and answers."""
        with Vertical(id="box") as box:
            box.border_title = OPERATIONS[self.operation].help.rstrip(".")
            yield Prose(self._told, ident="told")
            yield Input(id="confirm")
            yield Choices(Choice("cancel"), ident="answers")

    def on_mount(self) -> None:
        """Plan, with the cursor on the safe answer."""
        self.query_one(Choices).focus()
        start(self, self._prepare)

    async def _prepare(self) -> None:
        try:
            self.plan = await self._door.plan(self.operation, self.fields)
        except MlopsError as problem:
            self.problem = problem
        self._busy = ""
        answers = self.query_one(Choices)
        if self.plan:
            self.prod = self.prod or self.plan.environment == "prod"
            self.set_class(self.prod, "-danger")
            answers.set_choices(Choice("cancel"), Choice(self.verb, "prod" if self.prod else "accent"))
            self.set_class(self.prod, "-asks")
            self.query_one("#confirm", Input).placeholder = f"type {self.name_to_type} to confirm"
        else:
            answers.set_choices(Choice("close"))
        self.query_one(Prose).show(self._told)

    @property
    def cli(self) -> str:
        """The command that does the same."""
        return (self.plan.cli if self.plan else "") or command(self.operation, self.fields)

    @property
    def name_to_type(self) -> str:
        """What a person types to confirm: the object's name without its noun, of an id the word used for it."""
        name = self.plan.object.rpartition(":")[2] if self.plan else ""
        if not opaque(name):
            return name
        first = next(iter(OPERATIONS[self.operation].request.positional), "")
        return str(self.fields.get(first, "")) or short(name)

    def _told(self, cells: int) -> list[Line]:
        if self.problem:
            return told(self.problem, cells)
        if self.plan is None:
            return [line((f"↻ {self._busy}", "busy"))]
        plan = self.plan
        lines = [*wrap(plan.text, cells), ()]
        # What an undo notes in the chain is its own affair.
        changes = [one for one in plan.changes if not one.object.startswith("audit:")]
        lines += _changes(changes, cells)
        lines += _more(len(changes) - _most(changes), "changes")
        lines += [row for warning in plan.warnings[:_SHOWN] for row in wrap(f"! {warning}", cells, "warn")]
        lines += _more(len(plan.warnings) - _SHOWN, "warnings")
        lines += [*([()] if lines[-1] else []), *self._approvals()]
        lines += [line(("dry run ", "dim"), ("✔", "ok"), (f" nothing was changed · plan {plan.digest[:8]}", "dim"))]
        command_lines = wrap(self.cli, cells, "accent")
        lines += [*command_lines[:_SHOWN], *_more(len(command_lines) - _SHOWN, "lines; Y copies the whole")]
        if self._busy:
            lines += [line((f"↻ {self._busy}", "busy"))]
        return lines

    def _approvals(self) -> list[Line]:
        assert self.plan is not None
        if not self.plan.approvals:
            return [line(("approval ", "dim"), "none needed")]
        return [line(("approval ", "dim"), (f"{self.plan.approvals} more people must approve", "warn"))]

    async def on_choices_picked(self, event: Choices.Picked) -> None:
        """Cancel, or apply if production's name stands there."""
        if event.index == 0 or self.plan is None:
            self.dismiss(None)
            return
        confirm = self.query_one("#confirm", Input)
        if self.prod and confirm.value.strip() != self.name_to_type:
            confirm.focus()
            self.app.notify(f"type {self.name_to_type} to confirm", severity="warning")
            return
        start(self, self._apply, self.plan, group="apply", replace=True)

    def on_input_submitted(self) -> None:
        """Go on from the confirmation to the answers."""
        self.query_one(Choices).focus()

    async def _apply(self, plan: Plan) -> None:
        self._busy = f"{self.verb} …"
        self.query_one(Prose).show(self._told)
        try:
            self.dismiss(await self._door.call(self.operation, self.fields, digest=plan.digest))
        except MlopsError as problem:
            self.problem, self.plan, self._busy = problem, None, ""
            self.remove_class("-asks")
            self.query_one(Choices).set_choices(Choice("close"))
            self.query_one(Prose).show(self._told)

    def copied(self) -> str:
        """Return the command."""
        return self.cli


def _row(change: Change) -> list[Part]:
    before, after = (_value(change.before), "dim"), (_value(change.after), "*text")
    return [(shortened(change.object), "dim"), change.field, before, ("→", "faint"), after]


def _most(changes: Sequence[Change]) -> int:
    """Return how many changes are shown: of one object, which has only so many fields, all that there may be."""
    return _SHOWN if _spread(changes) else _OF_ONE


def _spread(changes: Sequence[Change]) -> bool:
    """Tell whether a plan changes a field or two of each object, or very many, so that a table says it best."""
    fields = Counter(change.object for change in changes)
    return max(fields.values(), default=0) < 3 or len(changes) > _OF_ONE


def _changes(changes: Sequence[Change], cells: int) -> list[Line]:
    """Return what goes from what to what: a table over objects, or the fields of one, each as long as it needs."""
    shown = changes[: _most(changes)]
    if _spread(changes):
        return grid([_row(one) for one in shown], room=cells)
    room = max(len(clean(c.field)) for c in shown) + 4
    lines: list[Line] = []
    before = ""
    for c in shown:
        if c.object != before:
            before = c.object
            lines.append(line((shortened(c.object), "dim")))
        was = f"{_value(c.before)} → " if c.before is not None else ""
        first, *rest = wrap(f"{was}{_value(c.after)}", max(10, cells - room))
        lines += [line(f"  {clean(c.field)}".ljust(room), first), *(line(" " * room, one) for one in rest)]
    return lines


def _more(number: int, what: str) -> list[Line]:
    return [line((f"… and {number:,} more {what}", "dim"))] if number > 0 else []


def _value(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(str(key))} {_value(one)}" for key, one in value.items()) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_value, value)) if isinstance(value, list) else clean(str(value))
