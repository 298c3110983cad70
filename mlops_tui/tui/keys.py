"""The one table of keys. Bindings, footer, help, palette and documentation are all made from it.

A lower-case key never changes production. The upper-case keys that change something open a plan dialog;
in a read-only session they do not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True)
class Key:
    """One binding.

    Args:
        id: stable name, for key maps.
        keys: Textual key names, separated by commas; the first is shown.
        action: what it does; the method lives on the class that binds the scope.
        help: a few words for the help screen and the palette.
        scope: where it holds: ``app``, a kind of widget, or a screen.
        hint: the word in the footer; empty: not shown there.
        changes: it changes something, so it is absent when read-only.
    """

    id: str
    keys: str
    action: str
    help: str
    scope: str
    hint: str = ""
    changes: bool = False

    @property
    def first(self) -> str:
        """The key that is shown."""
        return self.keys.split(",")[0]


MODES: dict[str, str] = {
    "home": "Home",
    "runs": "Runs",
    "data": "Data",
    "models": "Models",
    "deploy": "Deploy",
    "drift": "Drift",
    "ab": "A/B",
    "hardware": "Hardware",
    "govern": "Govern",
}
"""The nine modes in the order of their number keys."""

KEYS: tuple[Key, ...] = (
    *(Key(f"mode.{m}", str(i), f"mode('{m}')", f"go to {t}", "app") for i, (m, t) in enumerate(MODES.items(), 1)),
    Key("app.back", "escape", "back", "go back", "app", "back"),
    Key("app.next_panel", "tab", "next_panel", "next panel", "app", "next panel"),
    Key("app.previous_panel", "shift+tab", "previous_panel", "previous panel", "app"),
    Key("app.command", "colon", "command", "command line and deep links", "app"),
    Key("app.palette", "ctrl+p", "command_palette", "palette: find an action or an object", "app"),
    Key("app.jump", "ctrl+o", "jump", "jump to a panel by its letter", "app"),
    Key("app.zoom", "z", "zoom", "zoom the panel", "app", "zoom"),
    Key("app.pause", "p", "pause", "pause or resume live updates", "app", "pause"),
    Key("app.refresh", "r", "refresh", "read again, take in new rows", "app"),
    Key("app.copy", "y", "copy", "copy the value under the cursor", "app", "copy"),
    Key("app.copy_cli", "Y", "copy_cli", "copy the command that shows the same", "app", "CLI"),
    Key("app.reset", "0", "reset", "forget sorts, zoom, panes and pin: all as it was at first", "app"),
    Key("app.export", "w", "export", "write the list (CSV, JSON, Markdown) or the screen (SVG)", "app"),
    Key("app.actions", "x", "actions", "actions on what is under the cursor", "app", "actions", changes=True),
    Key("app.tasks", "t", "tasks", "tasks: running and ended jobs", "app", "tasks"),
    Key("app.undo", "u", "undo", "take back the last change of a note, of tags, or a deletion", "app", changes=True),
    Key("app.logs", "L", "logs", "open the log of what is under the cursor", "app", "logs"),
    Key("app.help", "question_mark", "help", "this help", "app", "help"),
    Key("app.quit", "q,ctrl+q,ctrl+c", "quit", "leave; jobs and servers go on", "app", "quit"),
    # Every panel.
    Key("panel.down", "down,j", "move(1)", "down", "panel"),
    Key("panel.up", "up,k", "move(-1)", "up", "panel"),
    Key("panel.page_down", "pagedown", "page(1)", "one page down", "panel"),
    Key("panel.page_up", "pageup", "page(-1)", "one page up", "panel"),
    Key("panel.first", "home,g", "edge(-1)", "first row", "panel"),
    Key("panel.last", "end,G", "edge(1)", "last row", "panel"),
    Key("panel.left", "left", "aside(-1)", "to the left: column, crosshair, or what is seen of a chart", "panel"),
    Key("panel.right", "right", "aside(1)", "to the right", "panel"),
    Key("panel.open", "enter", "open", "open", "panel", "open"),
    Key("panel.inspect", "i", "inspect", "inspect exact values", "panel"),
    # Lists read from the store.
    Key("table.filter", "slash", "filter", "filter: words and conditions, auc>0.9 status:done", "table", "filter"),
    Key("table.sort", "s", "sort", "sort by the marked column, again reverses", "table", "sort"),
    Key("table.select", "space", "select", "select the row", "table", "select"),
    Key("table.columns", "f", "columns", "choose the columns: metrics, parameters and tags too", "table"),
    Key("table.views", "b", "views", "kept views: columns, order and filter", "table"),
    # Curves.
    Key("curve.log", "l", "log_scale", "logarithmic y", "curve", "log y"),
    Key("curve.smooth", "o", "smooth", "smooth the curves", "curve", "smooth"),
    Key("curve.zoom_in", "plus", "scale(0.5)", "zoom in, to the crosshair or the right end", "curve", "zoom"),
    Key("curve.zoom_out", "minus", "scale(2)", "zoom out", "curve"),
    Key("curve.axis", "v", "axis", "x as steps, time or epochs", "axes", "x axis"),
    # Panes beside what a screen is about.
    Key("sides.left", "left_square_bracket", "side(0)", "hide or show the panes at the left or below", "sides"),
    Key("sides.right", "right_square_bracket", "side(1)", "hide or show the panes at the right", "sides"),
    # Pages.
    Key("page.find", "slash", "find", "find on this page", "page", "find"),
    Key("page.next", "n", "next_match", "next match", "page"),
    # Screens.
    Key("home.ack", "a", "ack", "acknowledge the alert", "home", "ack", changes=True),
    Key("runs.compare", "c", "compare", "compare the selected runs", "runs", "compare"),
    Key("runs.analyse", "a", "analyse", "groups, importance and parallel coordinates of these runs", "runs", "analyse"),
    Key("runs.note", "e", "note", "edit the note of the selected runs", "runs", "note", changes=True),
    Key("runs.tags", "number_sign", "tags", "set or remove tags of the selected runs", "runs", "tags", changes=True),
    Key("runs.delete", "delete", "delete", "delete what is selected, or restore what is deleted", "runs", changes=True),
    Key("runs.deleted", "d", "deleted", "list deleted runs or experiments, or again those that are there", "runs"),
    Key("runs.register", "R", "register", "register the run's model", "runs", "register", changes=True),
    Key("runs.pin", "asterisk", "pin", "pin the run: on top, and drawn beside every other", "runs"),
    Key("runs.stop", "X", "stop", "stop the job of the run", "runs", changes=True),
    Key("run.pin", "asterisk", "pin", "pin the run: on top, and drawn beside every other", "run"),
    Key("run.stop", "X", "stop", "stop the job of the run", "run", changes=True),
    Key("run.metric", "m", "metric", "draw the next metrics", "run", "metrics"),
    Key("run.system", "s", "system", "metrics of the machine, or the run's own", "run", "system"),
    Key("run.note", "e", "note", "edit the note", "run", "note", changes=True),
    Key("run.files", "a", "files", "see its files: pictures, tables, text", "run", "files"),
    Key("run.tags", "number_sign", "tags", "set or remove tags", "run", "tags", changes=True),
    Key("run.register", "R", "register", "register the run's model", "run", "register", changes=True),
    Key("compare.base", "b", "base", "make the marked run the base", "compare", "base"),
    Key("compare.differ", "d", "differ", "only what differs", "compare", "diff only"),
    Key("compare.metric", "m", "metric", "next metric", "compare", "metric"),
    Key("compare.note", "e", "note", "edit the note of the marked run", "compare", "note", changes=True),
    Key("compare.register", "R", "register", "register the base run's model", "compare", "register", changes=True),
    Key("analysis.group", "b", "group", "group by other parameters", "analysis", "group by"),
    Key("analysis.metric", "m", "metric", "choose the metric", "analysis", "metric"),
    Key("analysis.mark", "space", "mark", "select runs; on an axis, mark one end of a range", "analysis", "select"),
    Key("analysis.widen", "delete,backspace", "widen", "take back the range, or all", "analysis", "widen"),
    Key("analysis.compare", "c", "compare", "compare the selected runs", "analysis", "compare"),
    Key("analysis.list", "f", "list", "find these runs in the list", "analysis", "list them"),
    Key(
        "analysis.filter", "slash", "filter", "filter: words and conditions, auc>0.9 status:done", "analysis", "filter"
    ),
    Key("artifact.before", "b", "turn(-1)", "the file before", "artifact", "before"),
    Key("artifact.next", "n", "turn(1)", "the next file", "artifact", "next"),
    Key("artifact.save", "d", "save", "write the file into the working folder", "artifact", "save"),
    Key("data.diff", "d", "diff", "compare with the version before", "data", "diff"),
    Key("dataset.diff", "d", "diff", "compare with the version before", "dataset", "diff"),
    Key("models.promote", "P", "promote", "make the version champion", "models", "promote", changes=True),
    Key("models.rollback", "B", "rollback", "move the champion alias back", "models", "rollback", changes=True),
    Key("version.promote", "P", "promote", "make the version champion", "version", "promote", changes=True),
    Key("version.rollback", "B", "rollback", "move the champion alias back", "version", "rollback", changes=True),
    Key("deploy.promote", "P", "promote", "give the canary all traffic, or approve", "deploy", "promote", changes=True),
    Key("deploy.hold", "H", "hold", "hold or resume the rollout", "deploy", "hold/resume", changes=True),
    Key("deploy.rollback", "B", "rollback", "roll back to what was served before", "deploy", "rollback", changes=True),
    Key("deploy.abort", "A", "abort", "abort the rollout", "deploy", "abort", changes=True),
    Key("deploy.rollout", "N", "rollout", "begin a rollout: bring in a version", "deploy", "new rollout", changes=True),
    Key(
        "deploy.kill",
        "K",
        "kill",
        "kill switch: stop all answers, or let them be given",
        "deploy",
        "kill",
        changes=True,
    ),
    Key("deploy.toggle", "T", "flip", "switch the toggle under the cursor", "deploy", "toggle", changes=True),
    Key("deploy.charts", "m", "charts", "draw the next curves", "deploy", "curves"),
    Key("drift.ack", "a", "ack", "acknowledge the open alert", "drift", "ack", changes=True),
    Key("drift.silence", "S", "silence", "silence the open alert for 4 h", "drift", "silence", changes=True),
    Key("drift.retrain", "T", "retrain", "accept the proposed retraining", "drift", "retrain", changes=True),
    Key("drift.rollback", "B", "rollback", "roll the deployment back", "drift", "rollback", changes=True),
    Key("ab.promote", "P", "promote", "make the better arm champion", "ab", "promote", changes=True),
    Key("ab.stop", "X", "stop", "stop the test", "ab", "stop", changes=True),
    Key("hardware.stop", "X", "stop", "stop the job", "hardware", "stop", changes=True),
    Key("govern.verify", "v", "verify", "verify the audit chain", "govern", "verify"),
    Key("dialog.cancel", "escape", "cancel", "leave without doing anything", "dialog"),
    Key("dialog.copy", "Y", "copy_cli", "copy the command or the report", "dialog"),
    Key("choices.left", "left,h", "aside(-1)", "answer to the left", "choices"),
    Key("choices.right", "right,l", "aside(1)", "answer to the right", "choices"),
    Key("choices.up", "up,k,pageup", "scroll(-1)", "read on above", "choices"),
    Key("choices.down", "down,j,pagedown", "scroll(1)", "read on below", "choices"),
    Key("choices.pick", "enter", "pick", "give the marked answer", "choices"),
    Key("checklist.toggle", "space", "switch", "show or hide", "checklist", "show/hide"),
    Key("checklist.find", "slash", "find", "find a column by its name", "checklist", "find"),
    Key("checklist.earlier", "left", "aside(-1)", "one place earlier", "checklist", "earlier"),
    Key("checklist.later", "right", "aside(1)", "one place later", "checklist", "later"),
    Key("checklist.keep", "enter", "open", "show the list so", "checklist", "done"),
    Key("views.forget", "delete,d", "forget", "forget the view", "views", "forget"),
    Key("log.find", "slash", "find", "find in the log", "log", "find"),
    Key("log.next", "n", "next_match", "next match", "log", "next"),
    Key("log.follow", "f", "follow", "follow the end", "log", "follow"),
)

SCREENS: dict[str, tuple[str, ...]] = {
    "home": ("home", "panel", "app"),
    "runs": ("runs", "table", "sides", "panel", "app"),
    "run": ("run", "page", "axes", "curve", "sides", "panel", "app"),
    "artifact": ("artifact", "panel", "app"),
    "analysis": ("analysis", "panel", "app"),
    "compare": ("compare", "page", "axes", "curve", "sides", "panel", "app"),
    "data": ("data", "table", "panel", "app"),
    "dataset": ("dataset", "page", "panel", "app"),
    "models": ("models", "table", "panel", "app"),
    "version": ("version", "page", "panel", "app"),
    "deploy": ("deploy", "table", "curve", "panel", "app"),
    "deployment": ("deploy", "table", "curve", "panel", "app"),
    "rollout": ("deploy", "curve", "panel", "app"),
    "drift": ("drift", "table", "curve", "panel", "app"),
    "ab": ("ab", "table", "curve", "panel", "app"),
    "hardware": ("hardware", "table", "curve", "panel", "app"),
    "govern": ("govern", "table", "panel", "app"),
    "log": ("log", "panel", "app"),
    "detail": ("page", "panel", "app"),
    "dialog": ("dialog", "choices"),
    "columns": ("dialog", "checklist"),
    "views": ("dialog", "views"),
}
"""Which scopes hold in each screen, the most particular first."""

PRESETS: dict[str, dict[str, str]] = {
    "default": {},
    # h and l move as in vi; what they hid moves to the control key.
    "vim": {
        "panel.left": "h,left",
        "panel.right": "l,right",
        "panel.page_down": "ctrl+f,ctrl+d,pagedown",
        "panel.page_up": "ctrl+b,ctrl+u,pageup",
        "curve.log": "ctrl+l",
    },
    "emacs": {
        "panel.down": "ctrl+n,down",
        "panel.up": "ctrl+p,up",
        "panel.left": "ctrl+b,left",
        "panel.right": "ctrl+f,right",
        "panel.page_down": "ctrl+v,pagedown",
        "panel.page_up": "alt+v,pageup",
        "panel.first": "alt+less_than_sign,home",
        "panel.last": "alt+greater_than_sign,end",
        "table.filter": "ctrl+s,slash",
        "table.select": "ctrl+@,space",
        "log.find": "ctrl+s,slash",
        "app.back": "ctrl+g,escape",
        "app.palette": "alt+x",
        "app.copy": "alt+w,y",
    },
}

BETWEEN = " · "
"""What stands between two hints."""
_SHOWN = {
    "escape": "esc",
    "colon": ":",
    "slash": "/",
    "question_mark": "?",
    "number_sign": "#",
    "asterisk": "*",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "delete": "del",
    "plus": "+",
    "minus": "-",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
    "less_than_sign": "<",
    "greater_than_sign": ">",
}


def bindings(*scopes: str) -> list[BindingType]:
    """Return the Textual bindings of some scopes; they carry ids, so that a key map can move them."""
    return [Binding(k.keys, k.action, k.help, show=False, id=k.id) for k in KEYS if k.scope in scopes]


def active(screen: str, preset: str = "default", readonly: bool = False) -> list[Key]:
    """Return the keys that hold in a screen, the most particular first, as the preset spells them."""
    moved = PRESETS[preset]
    found = [k for scope in SCREENS[screen] for k in KEYS if k.scope == scope and not (readonly and k.changes)]
    return [
        Key(k.id, moved.get(k.id, k.keys), k.action, k.help, k.scope, k.hint, k.changes) if k.id in moved else k
        for k in found
    ]


def clashes(keys: Iterable[Key]) -> Iterator[tuple[str, str, str]]:
    """Yield (key, one id, other id) wherever one key has two meanings among ``keys``."""
    taken: dict[str, str] = {}
    for each in keys:
        for name in each.keys.split(","):
            if name in taken:
                yield name, taken[name], each.id
            taken.setdefault(name, each.id)


def shown(name: str) -> str:
    """Return a key as people write it: ``^p``, ``esc``, ``PgDn``."""
    *modifiers, key = name.split("+") if name != "plus" else ["plus"]
    text = _SHOWN.get(key, key)
    for modifier in reversed(modifiers):
        text = {"ctrl": "^", "alt": "M-", "shift": "S-"}.get(modifier, f"{modifier}+") + text
    return text


def hints(wanted: str, preset: str = "default", readonly: bool = False) -> str:
    """Return the hints of a panel: ``enter open · P promote``; see :func:`hinted`."""
    return BETWEEN.join(told for told, _ in hinted(wanted, preset, readonly))


def hinted(wanted: str, preset: str = "default", readonly: bool = False) -> list[tuple[str, str]]:
    """Return what a panel says of some keys, each with the key to press.

    Args:
        wanted: ids of keys with blanks between; ``id=other_words`` says it in other words.
        preset: the key map in force.
        readonly: leave out what changes something.
    """
    told = []
    for one in wanted.split():
        name, _, words = one.partition("=")
        key = _BY_ID[name]
        if not (readonly and key.changes):
            first = PRESETS[preset].get(name, key.keys).split(",")[0]
            told.append((f"{shown(first)} {words.replace('_', ' ') or key.hint or key.help}", first))
    return told


_BY_ID = {key.id: key for key in KEYS}

CHANGING = frozenset(k.action.partition("(")[0] for k in KEYS if k.changes)
"""Names of the actions that change something; absent when read-only."""
