"""The tiles of Home as lines: each takes a part of the snapshot and the width it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_tui.core.ids import short
from mlops_tui.core.states import tone
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import BLANK, Part, grid, join, line
from mlops_tui.tui.widgets.lines import Row

if TYPE_CHECKING:
    from mlops_tui.contracts.agent import Device, DriftLine, HomeSnapshot, Host, JobLine, RunLine, TrafficLine


def jobs(found: list[JobLine], cells: int, now: int) -> list[Row]:
    """Return a line a running job: what, how far, its figure and its curve."""
    rows: list[list[Part]] = []
    for one in found:
        done = BLANK
        if one.progress is not None:
            done = line((fmt.gauge(one.progress, 6), "busy"), f" {fmt.share(one.progress)}")
        figure = (
            line((one.metric, "dim"), f" {fmt.number(one.value)}")
            if one.value is not None
            else line((one.status, "dim"))
        )
        name = line(words.symbol(one.status), " ", one.name)
        rows.append([name, done, figure, (fmt.spark(one.spark, 8), "accent"), (fmt.duration(now - one.started), "dim")])
        if cells >= 84:
            rows[-1] += [(one.kind, "faint"), (short(one.id), "faint")]
    lines = grid(rows, "lrllr", room=cells)
    return [Row(made, one.link) for made, one in zip(lines, found, strict=True)]


def hardware(host: Host | None, cells: int) -> list[Row]:
    """Return the machine as bars: GPUs first, or the reason why there is none."""
    if host is None:
        return [Row(line(("no sample yet", "dim")))]
    bar = 10 if cells >= 38 else 6
    rows: list[list[Part]] = [_device(one, bar, cells >= 40) for one in host.gpus]
    if not host.gpus:
        known = host.gpu_state if cells >= 8 + len(host.gpu_state) else host.gpu_state.partition(" (")[0]
        rows.append([("GPU", "dim"), line((known, "dim"))])
    memory, disk = host.mem_used / (host.mem_total or 1), host.disk_used / (host.disk_total or 1)
    rows += [
        _measure(f"CPU {host.cpus}c", host.cpu / 100, f"load {host.load:.1f}", bar),
        _measure("MEM", memory, fmt.memory(host.mem_used, host.mem_total), bar),
        _measure("DISK", disk, f"{fmt.size(host.disk_total - host.disk_used)} free", bar, 0.9),
        [
            ("NET", "dim"),
            line(("↓ ", "dim"), f"{fmt.size(host.net_down)}/s", ("  ↑ ", "dim"), f"{fmt.size(host.net_up)}/s"),
        ],
    ]
    made = grid(rows)
    link = f"host:{host.id}"
    limits = [Row(line((host.limits, "warn")), link)] if host.limits else []
    return [*(Row(one, link) for one in made), *limits]


def _measure(name: str, share: float, text: str, bar: int, warn: float = 0.95) -> list[Part]:
    tone = "warn" if share >= warn else "ok"
    return [(name, "dim"), line(f"{fmt.share(share):>5} ", (fmt.gauge(share, bar), tone), ("  " + text, "dim"))]


def _device(one: Device, bar: int, wide: bool) -> list[Part]:
    used = fmt.memory(one.mem_used, one.mem_total)
    heat = f"  {one.temp_c:.0f}°C" if wide and one.temp_c is not None else ""
    watt = f" {one.power_w:.0f}W" if wide and one.power_w is not None else ""
    share = None if one.util is None else one.util / 100
    shown = f"{fmt.share(share):>5}"
    return [
        (f"GPU{one.index}", "dim"),
        line(f"{shown} ", (fmt.gauge(share, bar), "ok"), (f"  {used}{heat}{watt}", "dim")),
    ]


def drifts(found: list[DriftLine], cells: int) -> list[Row]:
    """Return a line a deployment: its worst feature, score, verdict and history."""
    rows: list[list[Part]] = [
        [
            one.deployment,
            fmt.fixed(one.score),
            words.symbol(one.verdict),
            (fmt.spark(one.spark, 12 if cells >= 50 else 8), tone(one.verdict)),
            (one.feature, "dim"),
        ]
        for one in found
    ]
    return [Row(made, one.link) for made, one in zip(grid(rows, "lrlll", room=cells), found, strict=True)]


def traffics(found: list[TrafficLine], cells: int) -> list[Row]:
    """Return a line a rollout or test in progress."""
    rows: list[list[Part]] = [[words.symbol(one.state), one.name, (one.kind, "dim"), one.text] for one in found]
    return [Row(made, one.link) for made, one in zip(grid(rows, room=cells), found, strict=True)]


def runs(found: list[RunLine], cells: int, now: int) -> list[Row]:
    """Return the newest runs with their headline figure."""
    rows: list[list[Part]] = [
        [
            ("★" if one.champion else " ", "accent"),
            words.symbol(one.status),
            one.name,
            (one.experiment, "dim"),
            line((one.metric, "dim"), f" {fmt.number(one.value)}") if one.metric else BLANK,
            (fmt.when(one.started, now), "dim"),
            (one.git[:12], "faint"),
        ]
        for one in found
    ]
    made = grid(rows, gap=1 if cells < 60 else 2, room=cells)
    return [Row(each, f"run:{one.id}") for each, one in zip(made, found, strict=True)]


def fleet(shot: HomeSnapshot, small: bool) -> list[Row]:
    """Return models, deployments and their health; in the short form also cost, residency and the audit chain."""
    sick = shot.deployments - shot.healthy
    health = line(("✔", "ok"), f" {shot.healthy}", line(("  ✖ ", "fail"), str(sick)) if sick else BLANK)
    canaries = sum(one.kind == "canary" for one in shot.traffic)
    tests = sum(one.kind in ("ab", "a/b") for one in shot.traffic)
    models = line(("models ", "dim"), str(shot.models), ("   deployments ", "dim"), str(shot.deployments), "  ", health)
    moving = line(("canary ", "dim"), str(canaries), ("   A/B running ", "dim"), str(tests))
    waiting = line(("waiting for approval ", "dim"), (str(shot.approvals), "warn" if shot.approvals else "text"))
    if not small:
        return [Row(models, "deploy"), Row(moving, "ab"), Row(waiting, "govern")]
    first, *others = cost(shot)
    return [
        Row(join([models, waiting], "   "), "deploy"),
        Row(join([first.line, *(o.line for o in others)], "   "), "govern"),
    ]


def cost(shot: HomeSnapshot) -> list[Row]:
    """Return what was used today, where data lives, and whether the audit chain is whole."""
    spent = (
        line(("spend today ", "dim"), f"{shot.cost_today:.2f} {shot.currency}")
        if shot.cost_today is not None
        else line(
            ("today ", "dim"),
            f"{shot.cpu_hours_today:.1f}",
            (" CPU h  ", "dim"),
            f"{shot.gpu_hours_today:.1f}",
            (" GPU h", "dim"),
        )
    )
    if shot.audit_ok is None:
        chain = line(("audit chain ", "dim"), ("? not checked yet", "unknown"))
    elif shot.audit_ok:
        at = f" {fmt.hour(shot.audit_checked)}" if shot.audit_checked else ""
        chain = line(("audit chain ", "dim"), ("✔", "ok"), f" {shot.audit_records:,} records", (at, "dim"))
    else:
        chain = line(("audit chain ", "dim"), ("✖ broken", "fail"))
    home = line(("residency ", "dim"), shot.residency or fmt.NONE)
    return [Row(spent, "hardware"), Row(home, "govern"), Row(chain, "audit")]
