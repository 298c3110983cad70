"""Deployments as lines: environments, how the traffic is split, revisions, servers, toggles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlops_tui.contracts.deploy import Deployment, Revision
from mlops_tui.contracts.listing import Table
from mlops_tui.contracts.load import Load, RevisionLoad
from mlops_tui.core.states import tone
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import BLANK, Line, Part, cut, grid, join, line
from mlops_tui.tui.drawing.theme import MARKS
from mlops_tui.tui.widgets.lines import Row

ORDER = ("prod", "staging", "local")
"""Environments, the one to be most careful with first."""


Toggles = Sequence[Mapping[str, Any]]
"""The rows of the list of toggles, by the names of its columns."""


def dicts(table: Table) -> list[dict[str, Any]]:
    """Return the rows of a list by the names of its columns."""
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=False)) for row in table.rows]


def environments(deployments: Sequence[Mapping[str, Any]], chosen: str, cells: int) -> list[Row]:
    """Return a line an environment: how many deployments it has, and how many of them are not well."""
    if not deployments:
        return []
    names = dict.fromkeys([*ORDER, *(str(one["environment"]) for one in deployments)])
    rows: list[list[Part]] = []
    for name in ("", *names):
        here = [one for one in deployments if not name or one["environment"] == name]
        ill = [
            one
            for one in here
            if tone(str(one["status"])) in ("fail", "warn") or "switched off" in str(one.get("text"))
        ]
        mark = "●" if name == chosen else " "
        said: Part = (f"✖ {len(ill)}", "fail") if ill else ("✔", "ok") if here else ("·", "faint")
        label: Part = (name or "all", "*prod" if name == "prod" and here else "text" if here else "faint")
        rows.append([(mark, "accent"), label, f"{len(here):,}", said])
    laid = grid(rows, "llrl", room=cells)
    return [Row(one, name or "all") for one, name in zip(laid, ("", *names), strict=True)]


def series_place(found: Deployment, label: str) -> int:
    """Return which mark and colour a revision has in bars and curves: stable the first, then by their numbers."""
    serving = [
        one.label for one in sorted(found.revisions, key=lambda one: (one.role != "stable", -one.weight, -one.no))
    ]
    return serving.index(label) % len(MARKS) if label in serving else 0


def traffic(found: Deployment, cells: int) -> Line:
    """Return the shares of the revisions that get traffic, as bars beside each other."""
    sharing = [one for one in found.revisions if one.weight > 0 or one.role == "shadow"]
    words_of = [(one, f"{one.label} {one.role}", _share(one)) for one in sharing]
    room = max(1, cells - sum(len(label) + len(share) + 4 for _, label, share in words_of) - 4 * (len(sharing) - 1))
    shown: list[Line] = []
    for one, label, share in words_of:
        token = f"series-{series_place(found, one.label)}"
        bar = fmt.bar(one.weight / 100, room) or "▏"
        shown.append(line((f"{MARKS[series_place(found, one.label)]} ", token), label, " ", (bar, token), f" {share}"))
    return cut(join(shown, "   "), cells) if shown else line(("no traffic", "dim"))


def _share(one: Revision) -> str:
    return "a copy" if one.role == "shadow" else fmt.percent(one.weight, 0)


def about(found: Deployment, toggles: Toggles, cells: int) -> list[Line]:
    """Return state, address and place in one line, the traffic, and what was arranged for trouble."""
    facts = [
        words.state(found.status),
        line((found.url or "no address yet", "accent" if found.url else "faint")),
        line(("target ", "dim"), found.target),
        line(("since ", "dim"), fmt.when(found.created), (f" by {found.actor}", "dim")),
    ]
    said = (("fallback", found.fallback), ("profile", found.profile))
    arranged = join([line((f"{name} ", "dim"), text) for name, text in said if text], "   ")
    return [join(facts, "   "), traffic(found, cells), *(trouble(found, toggles, cells) or [cut(arranged, cells)])]


def trouble(found: Deployment, toggles: Toggles, cells: int) -> list[Line]:
    """Return what keeps a deployment from answering as it should, nothing where all is well."""
    if killed := switched_off(toggles, found.name):
        off = line((f"✖ switched off: {', '.join(killed)}", "*fail"), ("  K", "accent"), (" lets it answer", "dim"))
        return [cut(off, cells)]
    if by := diverted(toggles, found.name):
        told = line((f"! the fallback answers in place of the model, says the toggle {by[0]}", "warn"))
        return [cut(told, cells)]
    wrong = [
        cut(line(("! ", "warn"), f"{one.label}: {one.condition}"), cells) for one in found.revisions if one.condition
    ]
    if found.status == "serving" and found.text.startswith("serving") and ":" not in found.text:
        return wrong
    more = line((found.text, "dim")) if found.text != found.status else BLANK
    return [cut(join([words.state(found.status), more]), cells), *wrong]


def busy(load: Load | None) -> Line:
    """Return how busy the servers are, in a few words for a frame."""
    if load is None or not load.workers:
        return line(("no server answers", "dim"))
    rate = f"{fmt.number(load.requests_s)} req/s" if load.requests_s is not None else "… req/s"
    return join([line((rate, "text")), line((fmt.size(load.memory), "dim"))])


def revisions(found: Deployment, load: Load | None, cells: int) -> list[Line]:
    """Return a line a revision: share, requests now and ever, errors, latency, the model behind it."""
    names = ("revision", "role", "share", "req/s", "requests", "errors", "p50 ms", "p95 ms", "model", "state")
    now = {one.revision: one for one in load.revisions} if load else {}
    rows: list[list[Part]] = [[(name, "dim") for name in names]]
    shown = sorted(found.revisions, key=_serving_first)
    rows += [_revision(found, one, now.get(one.label)) for one in shown]
    if cells < 84:  # the symbol of its state says enough
        rows[1:] = [[*row[:9], words.symbol(one.status)] for row, one in zip(rows[1:], shown, strict=True)]
    dropped = [] if cells >= 84 else [8] if cells >= 74 else [8, 9] if cells >= 64 else [1, 8, 9]
    align = "".join(letter for i, letter in enumerate("llrrrrrrll") if i not in dropped)
    return grid([[cell for i, cell in enumerate(row) if i not in dropped] for row in rows], align, room=cells)


def _serving_first(one: Revision) -> tuple[bool, int]:
    return (one.role == "idle", -one.no)


def _revision(found: Deployment, one: Revision, load: RevisionLoad | None) -> list[Part]:
    serves = one.role != "idle"
    place = series_place(found, one.label)
    mark = (f"{MARKS[place]} ", f"series-{place}")
    share = one.errors / one.requests if one.requests else 0.0
    rate = load.requests_s if load and serves else None
    return [
        line(mark, (one.label, "*text" if serves else "dim")),
        (one.role, "text" if serves else "faint"),
        fmt.percent(one.weight, 0) if serves else (fmt.NONE, "faint"),
        fmt.number(rate) if rate is not None else (fmt.NONE, "faint"),
        f"{one.requests:,}",
        line((f"{one.errors:,}", "fail"), (f" {fmt.share(share, 1)}", "dim")) if one.errors else ("0", "dim"),
        fmt.number(one.p50_ms),
        fmt.number(one.p95_ms),
        line(
            one.model,
            ("@", "faint"),
            str(one.version),
            (f"  {' · '.join(filter(None, (one.engine, one.provider)))}", "dim"),
        ),
        words.state(one.status),
    ]


def servers(load: Load | None, cells: int) -> list[Line]:
    """Return the workers, and what the deployment's counters say of them together."""
    if load is None:
        return []
    rows: list[list[Part]] = [[(name, "dim") for name in ("#", "pid", "memory", "conns", "restarts", "")]]
    rows += [
        [
            (f"{one.slot}", "dim"),
            str(one.pid or fmt.NONE),
            fmt.size(one.memory),
            f"{one.connections:,}",
            (f"{one.restarts:,}", "warn" if one.restarts else "dim"),
            words.state("ready" if one.ready else "starting"),
        ]
        for one in load.workers
    ]
    logged = join([line(f"{load.logged_rows:,}", (" rows logged", "dim")), _lost(load.dropped_rows, "dropped")])
    return [*grid(rows, "rrrrrl", room=cells), (), cut(join([logged, _lost(load.turned_away, "turned away")]), cells)]


def _lost(number: int, what: str) -> Line:
    return line((f"{number:,} {what}", "warn" if number else "dim"))


def toggle_rows(rows: Toggles, name: str, cells: int) -> list[Row]:
    """Return a line a toggle that the deployment's servers ask; each leads to its toggle."""
    own = [one for one in rows if one["deployment"] == name]
    laid = grid(
        [
            [
                ("[on ]", "ok") if one["enabled"] else ("[off]", "faint"),
                (str(one["key"]).removeprefix(f"{name}."), "text" if one["enabled"] else "dim"),
                line(
                    (str(one["default"]) or fmt.NONE, "*fail" if killed(one) else "text"),
                    (" + rule", "dim") if one["rule"] else (),
                ),
                (_CONTROLS.get(str(one["controls"]), str(one["controls"])), "dim"),
            ]
            for one in own
        ],
        "llll",
        room=cells,
    )
    return [Row(made, f"toggle:{one['key']}") for made, one in zip(laid, own, strict=True)]


NO_TOGGLE = "no toggle steers it: mlops toggle set KEY on --deployment NAME --controls fallback"
ALL = "all of it"
"""What is switched off where it is no single revision."""
_CONTROLS = {
    "answers": "kill switch",
    "revision": "who answers",
    "fallback": "fallback",
    "shadow": "copies",
    "log": "inference log",
}


def killed(toggle: Mapping[str, Any]) -> bool:
    """Tell whether a toggle keeps a deployment or one of its revisions from answering."""
    return toggle["controls"] == "answers" and bool(toggle["enabled"]) and toggle["default"] == "off"


def diverted(toggles: Toggles, name: str) -> list[str]:
    """Return the toggles by which the fallback of a deployment answers everybody."""
    return [
        str(one["key"])
        for one in toggles
        if one["deployment"] == name and one["controls"] == "fallback" and one["enabled"] and one["default"] == "on"
    ]


def switched_off(rows: Toggles, name: str) -> list[str]:
    """Return what of a deployment is switched off: itself, or revisions by their labels."""
    keys = [str(one["key"]) for one in rows if one["deployment"] == name and killed(one)]
    return [key.removeprefix(f"{name}.").removesuffix(".answers").replace("answers", "") or ALL for key in keys]
