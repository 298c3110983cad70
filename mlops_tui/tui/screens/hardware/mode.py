"""Hardware: machines and their devices, the queue of jobs, and what all of it used."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.agent import Host
from mlops_tui.contracts.govern import Cost
from mlops_tui.core.clock import HOUR
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing.text import Line, Part, grid, line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.browser import Browser
from mlops_tui.tui.screens.home import tiles
from mlops_tui.tui.widgets.curve import Curve
from mlops_tui.tui.widgets.lines import Lines, Row
from mlops_tui.tui.widgets.table import Table

_KEPT = 600


class Hardware(Browser):
    """Jobs above, the machine below."""

    SCOPE = "hardware"
    MODE = "hardware"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("host",))
    LISTS: ClassVar[dict[str, str]] = {"jobs": "job", "hosts": "host"}
    BINDINGS = bindings("hardware", "curve")
    DEFAULT_CSS = """
    Hardware > #body { layout: grid; grid-size: 20 3; grid-rows: 4fr 4fr 2fr; }
    Hardware #jobs { column-span: 20; }
    Hardware #machine { column-span: 9; }
    Hardware #load { column-span: 11; }
    Hardware #hosts, Hardware #cost { column-span: 10; }
    Hardware.-narrow > #body { grid-size: 20 2; grid-rows: 1fr 1fr; }
    Hardware.-narrow #machine { column-span: 10; }
    Hardware.-narrow #load { column-span: 10; }
    Hardware.-narrow #hosts, Hardware.-narrow #cost { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._samples: list[tuple[int, float, float]] = []

    def panels(self) -> ComposeResult:
        """Yield queue, machine, its load, machines and cost."""
        yield Table(
            "Jobs",
            "panel.open app.logs=log hardware.stop",
            empty="no jobs yet — mlops train script.py",
            ident="jobs",
        )
        yield Lines("This machine", ident="machine")
        yield Curve("CPU and memory, %", empty="two samples make a line", ident="load")
        yield Table("Machines", empty="no machine has reported", ident="hosts")
        yield Lines("Used", empty="nothing has been used yet", ident="cost")

    async def load(self, news: News) -> None:
        """Take a sample with each piece of news about the machine, then the lists."""
        if news.touches("host"):
            await self._sample()
        await super().load(news)
        if news.touches("job"):
            cost: Cost | None = await self.fill(self.lines("cost"), self.door.call("cost.show"))
            if cost is not None:
                self.lines("cost").title = f"Used since {fmt.when(cost.since)}"
                self.lines("cost").show(used(cost))

    async def _sample(self) -> None:
        from mlops_tui.tui.drawing.raster import series

        machine = self.lines("machine")
        host: Host | None = await self.fill(machine, self.door.call("host.show", {"host": ""}))
        if host is None:
            return
        machine.title = host.name
        machine.figure = line((f"{host.os} · {host.cpu_model[:24]}", "dim"))
        machine.show(lambda cells: [*tiles.hardware(host, cells), *(Row(each) for each in notes(host))])
        if not self._samples or host.ts > self._samples[-1][0]:
            self._samples.append((host.ts, host.cpu, 100 * host.mem_used / (host.mem_total or 1)))
            del self._samples[:-_KEPT]
        if len(self._samples) > 1:
            ts, cpu, memory = zip(*self._samples, strict=True)
            self.query_one(Curve).show([series("CPU", ts, cpu), series("memory", ts, memory)], axis="clock")
        else:
            self.query_one(Curve).show([])

    def action_stop(self) -> None:
        """Stop the job under the cursor."""
        row = self.table("jobs").current
        if row is not None:
            self.change("job.stop", {"job": row[0]}, "stop")

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Go where a line leads."""
        self.mlops.open_link(event.link)


def notes(host: Host) -> list[Line]:
    """Return why a device does not give a figure."""
    return [line((f"GPU{one.index} {note}", "faint")) for one in host.gpus for note in one.notes]


def used(cost: Cost) -> list[Line]:
    """Return a line an owner: hours, and money where a price is set."""
    rows: list[list[Part]] = [
        [
            one.owner,
            (one.kind, "dim"),
            line(fmt.duration(one.cpu_hours * HOUR), (" CPU", "dim")),
            line(fmt.duration(one.gpu_hours * HOUR), (" GPU", "dim")) if one.gpu_hours else "",
            f"{one.amount:.2f} {cost.currency}" if one.amount is not None else "",
        ]
        for one in cost.lines
    ]
    unpriced = (
        [] if cost.priced or not cost.lines else [line(("no price is set, so this is time and not money", "faint"))]
    )
    return [*grid(rows, "llrrr"), *unpriced]


MODE_SCREEN = Hardware
