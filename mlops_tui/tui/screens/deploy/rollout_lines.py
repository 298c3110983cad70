"""A rollout as lines: where it stands and why, what the evidence says, look by look, and what happened."""

from __future__ import annotations

import math

from mlops_tui.contracts.deploy import Deployment
from mlops_tui.contracts.rollout import Check, Look, Rollout
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import Line, Part, beside, cut, grid, join, line, spread, wrap
from mlops_tui.tui.drawing.theme import MARKS
from mlops_tui.tui.screens.deploy.deploy_lines import traffic

OVER = ("Succeeded", "RolledBack", "Aborted", "Superseded")
_NAMES = {"error": "errors", "wrong": "wrong", "latency": "latency", "score": "drift"}
PLACES = {"error": 2, "latency": 3, "wrong": 4, "score": 5}
"""Mark and colour of each check in the chart of the evidence; the first two are those of the sides."""
_GAUGE = 5
"""Cells of the bar that says how much of the evidence that is needed is there."""
_WITH_ACTOR = 50
"""Cells from which on there is room to say who did it."""
_MOST, _LEAST = 14.0, 4.6
"""Log e-values beyond which nobody reads the digits: a million to one, one to a hundred."""


def steps(rollout: Rollout, cells: int) -> Line:
    """Return the steps as a track: what is done, where it stands or was stopped, what is to come."""
    stops = ["0 %", *(step.text for step in rollout.steps), "100 %"]
    over, won = rollout.state in OVER, rollout.state == "Succeeded"
    full = won or rollout.state in ("Promoting", "Baking")
    at = len(stops) - 1 if full else rollout.step + 1
    gap = max(2, min(8, (cells - 8 * len(stops)) // len(stops)))
    parts: list[Part] = [("0 %", "text")]
    for i, stop in enumerate(stops[1:], 1):
        moving = i == at + 1 and not over
        track = "✔" if i <= at else ("━" if moving else "─") * gap
        parts.append((f" {track} ", "ok" if i <= at else "busy" if moving else "line"))
        parts.append((stop, "text" if i <= at else "dim"))
        if i == at and not won:
            parts.append((" ✖", "fail") if over else (" ●", "*busy"))
    return line(*parts)


def head(rollout: Rollout, found: Deployment, cells: int) -> list[Line]:
    """Return the track, the split of the traffic, and the state with the sentence why."""
    track = steps(rollout, cells) if rollout.steps else line((rollout.strategy, "dim"))
    return [spread(track, _time(rollout), cells), traffic(found, cells), *told(rollout, cells)]


def told(rollout: Rollout, cells: int, most: int = 2) -> list[Line]:
    """Return the state and why it is so, on so many lines at most."""
    state = words.state(rollout.state)
    indent = len("".join(text for text, _ in state)) + 2
    lines = wrap(rollout.why or rollout.text, max(10, cells - indent))
    if len(lines) > most:
        lines = [*lines[: most - 1], cut(line(lines[most - 1], " …"), cells - indent)]
    return [line(state, "  ", lines[0] if lines else ""), *(line(" " * indent, one) for one in lines[1:])]


def steering(rollout: Rollout | None) -> str:
    """Return the keys that steer a rollout now: one that is over can only be followed by another."""
    if rollout is None or rollout.state in OVER:
        return "deploy.rollout deploy.rollback"
    promote = "deploy.promote=approve" if rollout.state == "Holding" else "deploy.promote"
    hold = "deploy.hold=resume" if rollout.state == "Paused" else "deploy.hold=hold"
    return f"{promote} {hold} deploy.rollback deploy.abort"


def about(rollout: Rollout) -> str:
    """Return what is brought in, how and by whom."""
    by = f"{rollout.strategy} · started {fmt.hour(rollout.started)} by {rollout.actor}"
    return f"{rollout.stable} → {rollout.canary} · {by}"


def _time(rollout: Rollout) -> Line:
    """Return how long it took, or has been watched and may be."""
    if rollout.ended:
        return line((f"took {fmt.duration(rollout.ended - rollout.started)}", "dim"))
    watched, most = (fmt.duration(seconds * 1e6) for seconds in (rollout.watched_s, rollout.deadline_s))
    return line((f"watched {watched} of {most}", "dim"))


def checks(rollout: Rollout, cells: int) -> list[Line]:
    """Return what it is judged by: both sides, how much evidence there is of what is needed, and the verdict."""
    if not rollout.checks:
        return []
    names: list[Part] = [(name, "dim") for name in ("check", "ratio", "harm e", "of needed", "safe e", "verdict")]
    rows: list[list[Part]] = [[names[0], *_sides(rollout), *names[1:]]]
    rows += [_check(one) for one in rollout.checks]
    most = max(rollout.checks, key=lambda one: one.n_canary)
    of = line(("judged", "dim")), line((f"{most.n_stable:,}", "dim")), line((f"{most.n_canary:,}", "dim"))
    if cells < 72:  # the ratio can be seen from the two sides
        rows = [[*row[:3], *row[4:]] for row in rows]
    laid = grid([*rows, list(of)], "lrrrrlrl" if cells >= 72 else "lrrrlrl", room=cells)
    return [*laid, *_sentences(rollout, cells)]


def _sides(rollout: Rollout) -> list[Part]:
    """Return what the columns of both sides are called, with their marks in the curves."""
    labels = (rollout.stable, rollout.canary)
    return [line((f"{MARKS[i]} ", f"series-{i}"), (label, "dim")) for i, label in enumerate(labels)]


def _check(one: Check) -> list[Part]:
    stable, canary = _rate(one.bad_stable, one.n_stable), _rate(one.bad_canary, one.n_canary)
    ratio = canary / stable if stable and canary is not None else None
    share = one.log_e_harm / one.log_needed if one.log_needed > 0 else 0.0
    tone = "fail" if share >= 1 else "warn" if share >= 0.5 else "dim"
    judged = one.kind != "limit"
    return [
        _name(one.event) if judged else line(one.event, (" limit", "dim")),
        _share(stable),
        _share(canary),
        fmt.number(ratio) if ratio is not None else (fmt.NONE, "faint"),
        odds(one.log_e_harm) if judged else (fmt.NONE, "faint"),
        line((fmt.gauge(max(0.0, share), _GAUGE), tone), (f" {fmt.number(math.exp(one.log_needed), 2)}", "dim")),
        odds(one.log_e_safe) if one.kind == "harm" else (fmt.NONE, "faint"),
        words.state("hold" if one.hold and one.verdict == "continue" else one.verdict),
    ]


def _sentences(rollout: Rollout, cells: int) -> list[Line]:
    """Return what each check says of itself, those that decide first."""
    order = {"harm": 0, "drift": 1, "safe": 3}
    told: list[Line] = [()]
    for one in sorted(rollout.checks, key=lambda one: order.get(one.verdict, 2)):
        told += wrap(f"{_NAMES.get(one.event, one.event)}: {one.text}", cells, "dim")
    return told + (wrap(f"can see: {rollout.sees}", cells, "dim") if rollout.sees else [])


def odds(log_e: float) -> Part:
    """Return an e-value: how many times as likely the evidence is if the canary is worse than if it is not."""
    if log_e > _MOST:
        return (">1e6", "*text")
    if log_e < -_LEAST:
        return ("<0.01", "dim")
    return (fmt.number(math.exp(log_e), 2), "text" if log_e > 0 else "dim")


def looks(rollout: Rollout, cells: int) -> list[Line]:
    """Return the looks at the evidence, newest first."""
    if not rollout.looks:
        return []
    names: list[Part] = [(name, "dim") for name in ("look", "at", "step", "check", "harm e", "safe e", "")]
    rows: list[list[Part]] = [[*names[:4], *_sides(rollout), *names[4:]]]
    rows += [_look(one) for one in rollout.looks]
    return grid(rows, "rlrlrrrrl", room=cells)


def _look(one: Look) -> list[Part]:
    return [
        (f"{one.look}", "dim"),
        (fmt.hour(one.ts, True), "dim"),
        (f"{one.step + 1}", "dim"),
        _name(one.event),
        _of(one.bad_stable, one.n_stable),
        _of(one.bad_canary, one.n_canary),
        odds(one.log_e_harm),
        odds(one.log_e_safe),
        words.symbol(one.verdict),
    ]


def timeline(rollout: Rollout, cells: int) -> list[Line]:
    """Return what happened and why, newest first; a reason takes the lines that it needs."""
    events = rollout.events[::-1]
    rows: list[list[Part]] = [
        [
            (fmt.hour(one.ts, True), "dim"),
            words.state(one.state),
            (f"{one.weight:g} %", "dim"),
            (one.actor if cells >= _WITH_ACTOR else "", "faint"),
        ]
        for one in events
    ]
    # What an end adds to the reason that began it is all that is new.
    texts = [
        (one.text.removeprefix(f"{earlier.text}; ") if earlier else one.text, "text")
        for one, earlier in zip(events, [*events[1:], None], strict=True)
    ]
    return beside(grid(rows, "llrl"), texts, cells)


def _name(event: str) -> Line:
    """Return what a check is called, behind its mark in the chart of the evidence."""
    if event not in PLACES:
        return line(_NAMES.get(event, event))
    place = PLACES[event]
    return line((f"{MARKS[place]} ", f"series-{place}"), _NAMES.get(event, event))


def _rate(bad: float, n: int) -> float | None:
    return bad / n if n else None


def _share(rate: float | None) -> Part:
    return (fmt.NONE, "faint") if rate is None else fmt.share(rate, 2)


def _of(bad: float, n: int) -> Line:
    return line(fmt.number(bad) if bad % 1 else f"{bad:,.0f}", (f"/{n:,}", "dim"))


def summary(rollout: Rollout | None, found: Deployment, cells: int) -> list[Line]:
    """Return how a deployment's traffic is split, and where its rollout stands, if there was one."""
    if rollout is None:
        return [
            traffic(found, cells),
            line(("no rollout has been started yet: ", "dim"), ("N", "accent"), (" begins one", "dim")),
        ]
    return [
        traffic(found, cells),
        spread(
            join(
                [
                    line((rollout.stable, "text"), (" → ", "faint"), (rollout.canary, "*text")),
                    line((rollout.strategy, "dim")),
                    steps(rollout, cells - 24),
                ]
            ),
            _time(rollout),
            cells,
        ),
        *told(rollout, cells),
    ]
