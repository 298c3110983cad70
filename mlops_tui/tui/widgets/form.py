"""Two small dialogs in front of a plan: which action, and what it still needs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, get_args, get_origin

import msgspec
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from mlops_tui.contracts import OPERATIONS
from mlops_tui.core.errors import BadInput
from mlops_tui.tui.drawing.text import Line, beside, line, wrap
from mlops_tui.tui.news.door import command
from mlops_tui.tui.widgets.dialog import Choice, Choices, Dialog, Plain, Prose
from mlops_tui.tui.widgets.lines import Lines, Row


class Field:
    """One field of a request: name, what it means, whether it must be given, and its type."""

    def __init__(self, info: msgspec.structs.FieldInfo) -> None:
        self.name = info.encode_name
        self.required = info.required
        annotation, self.meaning = info.type, ""
        if hasattr(annotation, "__metadata__"):
            notes = [meta.description for meta in annotation.__metadata__ if isinstance(meta, msgspec.Meta)]
            self.meaning = next((note for note in notes if note), "")
            annotation = get_args(annotation)[0]
        self.type = get_origin(annotation) or annotation
        default = info.default if info.default is not msgspec.NODEFAULT else ""
        if info.default_factory is not msgspec.NODEFAULT:
            default = info.default_factory()
        self.default = (
            " ".join(map(_said, default)) if isinstance(default, list) else "" if default == {} else _said(default)
        )

    @property
    def said(self) -> str:
        """Its name as people say it, with its unit behind it."""
        name = f"{self.name.removesuffix('_s')} (s)" if self.name.endswith("_s") else self.name
        return name.replace("_", " ")

    def read(self, text: str) -> Any:
        """Return what was typed as the field's type: words for lists, ``key=value`` words for tables."""
        if self.type is list:
            return text.split()
        if self.type is dict:
            return dict(word.partition("=")[::2] for word in text.split())
        if self.type is bool:
            return text.lower() in ("yes", "true", "1", "on", "y")
        return text


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def fields(operation: str) -> list[Field]:
    """Return an operation's fields, those that must be given first."""
    found = [Field(info) for info in msgspec.structs.fields(OPERATIONS[operation].request)]
    return sorted(found, key=lambda field: not field.required)


def request(operation: str, typed: dict[str, Any]) -> dict[str, Any]:
    """Check what was typed against the request's type, and return it as plain values.

    Raises:
        BadInput: something is missing or does not fit.
    """
    try:
        made = msgspec.convert(typed, OPERATIONS[operation].request, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(str(error), "", "correct the field") from error
    plain: dict[str, Any] = msgspec.to_builtins(made)
    return plain


class Form(Dialog[dict[str, Any]]):
    """Asks for the fields of an operation that are not known yet.

    Args:
        operation: ``noun.verb``.
        known: fields that are not asked for.
        asked: the fields to ask for, in this order; empty: all that are not known. The others keep their defaults.
        given: what stands in a field at first, instead of its default.
    """

    DEFAULT_CSS = "Form .label { margin: 0; }"

    def __init__(
        self,
        operation: str,
        known: dict[str, Any],
        asked: Sequence[str] = (),
        given: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.operation, self.known, self.given = operation, known, given
        by_name = {field.name: field for field in fields(operation) if field.name not in known}
        self.fields = [by_name[name] for name in asked or by_name]
        self._left = len(by_name) - len(self.fields)
        self._wrong = ""

    def compose(self) -> ComposeResult:
        """Lay out a line of explanation and an input a field."""
        with Vertical(id="box") as box:
            box.border_title = OPERATIONS[self.operation].help.rstrip(".")
            for field in self.fields:
                yield Prose(partial(self._label, field), ident=f"label-{field.name}")
                yield Input(self.given.get(field.name, "") or field.default, id=f"field-{field.name}")
            if self._left:
                yield Prose(self._more, ident="more")
            yield Prose(lambda cells: wrap(self._wrong, cells, "fail") if self._wrong else [], ident="wrong")
            yield Choices(Choice("cancel"), Choice("show the plan", "accent"))

    def on_mount(self) -> None:
        """Close the gap between a label and its input."""
        for prose in self.query(Prose):
            prose.styles.margin = 0

    def _more(self, cells: int) -> list[Line]:
        told = f"{self._left} more keep their defaults: {command(self.operation, {})} --help names them"
        return [*wrap(told, cells, "faint"), ()]

    @staticmethod
    def _label(field: Field, cells: int) -> list[Line]:
        need = "" if field.required else "optional"
        meaning = "; ".join(part for part in (field.meaning, need) if part)
        return beside([line(field.said)], [(meaning, "dim")], cells)

    def on_input_submitted(self) -> None:
        """Go on to the next field."""
        self.focus_next()

    def on_choices_picked(self, event: Choices.Picked) -> None:
        """Leave, or check the fields and hand them on."""
        if event.index == 0:
            self.dismiss(None)
            return
        typed = dict(self.known)
        for field in self.fields:
            text = self.query_one(f"#field-{field.name}", Input).value
            if field.required or text != field.default:
                typed[field.name] = field.read(text)
        try:
            checked = request(self.operation, typed)
        except BadInput as problem:
            self._wrong = problem.what
            self.query_one("#wrong", Prose).show(lambda cells: wrap(self._wrong, cells, "fail"))
            return
        self.dismiss({name: checked[name] for name in typed})


class Menu(Plain[int]):
    """A few things to pick one from; the answer is its place.

    Args:
        title: what they have to do with.
        offered: what is offered, and what is said of it.
        verb: what enter does.
    """

    DEFAULT_CSS = "Menu Lines { height: auto; min-height: 3; max-height: 20; }"

    def __init__(self, title: str, offered: Sequence[tuple[str, str]], verb: str) -> None:
        super().__init__()
        self.title_of_menu, self.offered, self.verb = title, offered, verb

    def compose(self) -> ComposeResult:
        """Lay out one line for each."""
        with Vertical(id="box"):
            panel = Lines(self.title_of_menu, f"panel.open={self.verb} app.back=leave")
            panel.styles.height = len(self.offered) + 2
            yield panel

    def on_mount(self) -> None:
        """Fill the list."""
        panel = self.query_one(Lines)
        wide = max(len(word) for word, _ in self.offered)
        panel.show(
            Row(line(word.ljust(wide), (f"  {told}", "dim")), str(index))
            for index, (word, told) in enumerate(self.offered)
        )
        panel.focus()

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Hand the choice on."""
        event.stop()
        self.dismiss(int(event.link))
