"""A/B: tests, and of the one under the cursor the verdict, both arms and the interval that holds at every look."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.deploy import Deployment
from mlops_tui.contracts.monitor import AbTest
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import Line, Part, grid, join, line, wrap
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens.frame.browser import Browser
from mlops_tui.tui.widgets.curve import Curve
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.table import Table

if TYPE_CHECKING:
    from mlops_tui.tui.drawing.raster import Series


class Ab(Browser):
    """The tests, and everything about one of them."""

    SCOPE = "ab"
    MODE = "ab"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("ab", "label"))
    LISTS: ClassVar[dict[str, str]] = {"tests": "ab"}
    BINDINGS = bindings("ab", "curve")
    DEFAULT_CSS = """
    Ab > #body { layout: grid; grid-size: 20 3; grid-rows: 7 6 1fr; }
    Ab #tests, Ab #verdict { column-span: 20; }
    Ab #arms { column-span: 9; }
    Ab #lift { column-span: 11; }
    Ab.-only > #body { grid-size: 20 2; grid-rows: 6 1fr; }
    Ab.-only #tests { display: none; }
    Ab.-narrow > #body { grid-rows: 5 6 1fr; }
    Ab.-narrow.-only > #body { grid-rows: 6 1fr; }
    """

    def __init__(self, only: str = "") -> None:
        super().__init__()
        self.only = only
        self.set_class(bool(only), "-only")
        self.test: AbTest | None = None

    @property
    def crumb(self) -> str:
        """The mode, or the one test."""
        return self.test.name if self.only and self.test else self.only or super().crumb

    def panels(self) -> ComposeResult:
        """Yield the list and the panels about one test."""
        yield Table(
            "Tests", "panel.open", empty="no test yet — mlops ab start DEPLOYMENT MODEL@1 MODEL@2", ident="tests"
        )
        yield Lines("Verdict", empty="which arm is better, and how surely", ident="verdict")
        yield Lines("Arms", empty="requests, users and labels of each arm, once the test gets traffic", ident="arms")
        yield Curve(
            "Difference B − A, interval valid at every look",
            empty="the interval over time, once both arms have answered",
            ident="lift",
        )

    def on_mount(self) -> None:
        """Give the focus to what can be seen."""
        if self.only:
            self.lines("verdict").focus()

    async def preview(self) -> None:
        """Read the test under the cursor."""
        row = self.table("tests").current
        name = self.only or (row[0] if row else "")
        verdict, arms, lift = self.lines("verdict"), self.lines("arms"), self.query_one(Curve)
        if not name:
            verdict.show([])
            arms.show([])
            lift.show([])
            return
        found: AbTest | None = await self.fill([verdict, arms, lift], self.door.call("ab.status", {"test": name}))
        if found is None:
            return
        self.test = found
        self.mlops.face.restate()
        verdict.title = f"{found.name} on {found.deployment}"
        verdict.figure = words.state(found.state)
        verdict.show(lambda cells: summary(found, cells))
        arms.show(lambda cells: sides(found, cells))
        from mlops_tui.tui.drawing.plot import Level

        lift.show(interval(found), [Level(0.0, "no difference", "dim")])

    async def open_object(self, noun: str, name: str, rest: str = "") -> None:
        """Open one test."""
        await self.app.push_screen(Ab(only=name))

    def subject(self) -> tuple[str, str] | None:
        """The test."""
        return ("ab", self.test.id) if self.test else super().subject()

    def cli(self) -> str:
        """The test as a command."""
        return f"mlops ab status {self.test.name or self.test.deployment}" if self.test else "mlops ab list"

    async def action_promote(self) -> None:
        """Make the better arm champion; without a verdict there is none."""
        test = self.test
        if test is None or test.difference is None or not decided(test):
            self.complain("there is no verdict yet: " + (test.text if test else "no test"))
            return
        label = test.arms[1 if test.difference > 0 else 0].label
        found: Deployment = await self.door.call("deploy.show", {"deployment": test.deployment})
        version = next((f"{one.model}@{one.version}" for one in found.revisions if one.label == label), label)
        self.change("model.alias", {"model": version, "alias": "champion"}, "promote")

    def action_stop(self) -> None:
        """Stop the test."""
        if self.test is not None:
            self.change("ab.stop", {"test": self.test.id}, "stop")


def decided(test: AbTest) -> bool:
    """Tell whether the interval lies on one side of no difference."""
    return test.low is not None and test.high is not None and (test.low > 0 or test.high < 0)


def summary(test: AbTest, cells: int) -> list[Line]:
    """Return the verdict in words, its figures, and whether the split is as it should be."""
    lift = line((f"{test.metric} ", "dim"), fmt.signed(test.difference) or fmt.NONE)
    if test.low is not None and test.high is not None:
        lift = line(lift, (f"  [{fmt.signed(test.low)}, {fmt.signed(test.high)}]", "dim"))
    labelled = sum(arm.n for arm in test.arms)
    need = f" of {test.needed:,}" if test.needed else ""
    split = line(
        ("sample ratio ", "dim"), ("✖ " if test.srm_p is not None and test.srm_p < 0.001 else "✔ ", _split(test))
    )
    gap = "   " if cells > 90 else "  "
    return [
        *wrap(test.text or test.verdict, cells, "*text" if decided(test) else "text"),
        join(
            [
                lift,
                line(("always-valid p ", "dim"), fmt.p_value(test.p_value)),
                line(("P(B>A) ", "dim"), fmt.fixed(test.p_better, 3)),
                line(("n ", "dim"), f"{labelled:,}{need}"),
            ],
            gap,
        ),
        join(
            [line(split, ("p ", "dim"), fmt.p_value(test.srm_p)), line((f"started {fmt.when(test.started)}", "dim"))],
            "   ",
        ),
    ]


def _split(test: AbTest) -> str:
    return "fail" if test.srm_p is not None and test.srm_p < 0.001 else "ok"


def sides(test: AbTest, cells: int) -> list[Line]:
    """Return both arms side by side."""
    head: list[Part] = ["", *((f"{arm.arm} {arm.label}", "*text") for arm in test.arms)]
    rows: list[list[Part]] = [
        [("exposures", "dim"), *(f"{arm.exposures:,}" for arm in test.arms)],
        [("labelled", "dim"), *(f"{arm.n:,}" for arm in test.arms)],
        [(test.metric, "dim"), *(fmt.number(arm.mean, 4) for arm in test.arms)],
    ]
    return grid([head, *rows], "lrr", room=cells)


def interval(test: AbTest) -> list[Series]:
    """Return the course of the estimate inside its band, as series."""
    from mlops_tui.tui.drawing.raster import series

    looks = [look for look in test.looks if len(look) >= 4]
    if len(looks) < 2:
        return []
    n, mid, low, high = ([look[i] for look in looks] for i in range(4))
    return [series("estimate", n, mid), series("interval", n, mid, low, high, "line", True)]


MODE_SCREEN = Ab
