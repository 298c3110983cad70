"""A rollout and its deployment as lines: where it stands, what the evidence says, what happened."""

from __future__ import annotations

import math

from mlops_tui.contracts.deploy import Deployment
from mlops_tui.contracts.rollout import Look, Rollout
from mlops_tui.tui import format as fmt
from mlops_tui.tui import words
from mlops_tui.tui.text import Line, Part, grid, join, line

OVER = ("Succeeded", "RolledBack", "Aborted", "Superseded")


def steps(rollout: Rollout, cells: int) -> Line:
    """Return the steps as a track: what is done, where it stands or was stopped, what is to come."""
    stops = ["0 %", *(step.text for step in rollout.steps), "100 %"]
    over, won = rollout.state in OVER, rollout.state == "Succeeded"
    at = len(stops) - 1 if won else rollout.step + 1
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


def state(found: Deployment, rollout: Rollout | None, cells: int) -> list[Line]:
    """Return the rollout, if there is one, and how the traffic is split meanwhile."""
    if rollout is None:
        return [line(("no rollout has been started", "dim")), traffic(found, cells)]
    *before, last = head(rollout, cells)
    return [*before, traffic(found, cells), last]


def head(rollout: Rollout, cells: int) -> list[Line]:
    """Return strategy, track and reason of a rollout."""
    told = join([words.state(rollout.state), line((rollout.text, "dim"))])
    about = join(
        [
            line(rollout.stable, (" → ", "faint"), (rollout.canary, "*text")),
            line((rollout.strategy, "dim")),
            line((f"started {fmt.when(rollout.started)} by {rollout.actor}", "dim")),
        ],
        "   ",
    )
    track = [steps(rollout, cells)] if rollout.steps else []
    return [about, *track, told]


def traffic(found: Deployment, cells: int) -> Line:
    """Return the shares of the revisions that get traffic, as bars beside each other."""
    sharing = [one for one in found.revisions if one.weight > 0]
    labels = sum(len(one.label) + 9 for one in sharing)
    room = max(4, cells - labels)
    parts: list[Part] = []
    for index, one in enumerate(sharing):
        bar = fmt.bar(one.weight / 100, room)
        parts += [f"{one.label} ", (bar or "▏", f"series-{index}"), f" {one.weight:.0f} %  "]
    return line(*parts) if parts else line(("no traffic", "dim"))


def revisions(found: Deployment, cells: int) -> list[Line]:
    """Return a line a revision that serves or served: share, requests, errors, latency."""
    head: list[Part] = [
        (name, "dim") for name in ("revision", "role", "share", "requests", "errors", "p50 ms", "p95 ms", "state")
    ]
    rows: list[list[Part]] = [
        [
            (one.label, "*text" if one.weight else "dim"),
            (one.role, "dim"),
            f"{one.weight:.0f} %",
            f"{one.requests:,}",
            (f"{one.errors:,}", "fail" if one.errors else "dim"),
            fmt.number(one.p50_ms),
            fmt.number(one.p95_ms),
            words.state(one.status),
        ]
        for one in sorted(found.revisions, key=lambda one: -one.no)
    ]
    return grid([head, *rows], "llrrrrrl", room=cells)


def analysis(rollout: Rollout, cells: int) -> list[Line]:
    """Return the newest look at each event: rates of both versions, evidence of harm and of safety, verdict."""
    newest: dict[str, Look] = {}
    for look in rollout.looks:
        newest.setdefault(look.event, look)
    if not newest:
        return []
    names = ("check", rollout.stable, rollout.canary, "ratio", "harm ×", "safe ×", "verdict")
    head: list[Part] = [(name, "dim") for name in names]
    rows: list[list[Part]] = []
    for event, look in sorted(newest.items()):
        stable, canary = _rate(look.bad_stable, look.n_stable), _rate(look.bad_canary, look.n_canary)
        ratio = canary / stable if stable and canary is not None else None
        rows.append(
            [
                event,
                _share(stable, look.n_stable),
                _share(canary, look.n_canary),
                fmt.number(ratio) if ratio is not None else fmt.NONE,
                odds(look.log_e_harm),
                odds(look.log_e_safe),
                words.state(look.verdict),
            ]
        )
    return grid([head, *rows], "lrrrrrl", room=cells)


def odds(log_e: float) -> Part:
    """Return an e-value as the odds against chance that it is."""
    if log_e > 14:
        return (">1e6", "*text")
    return (fmt.number(math.exp(log_e)), "text" if log_e > 0 else "dim")


def timeline(rollout: Rollout, cells: int) -> list[Line]:
    """Return what happened, newest first."""
    rows: list[list[Part]] = [
        [
            (fmt.hour(one.ts), "dim"),
            words.state(one.state),
            (f"{one.weight:g} %", "dim"),
            one.text,
            (one.actor, "faint"),
        ]
        for one in reversed(rollout.events)
    ]
    return grid(rows, "llrll", room=cells, give=3)


def _rate(bad: float, n: int) -> float | None:
    return bad / n if n else None


def _share(rate: float | None, n: int) -> Line:
    if rate is None:
        return line((fmt.NONE, "faint"))
    return line(f"{rate:.2%}", (f" of {n:,}", "dim"))
