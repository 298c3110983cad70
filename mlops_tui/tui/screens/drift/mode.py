"""Drift: watched features, the worst first; the shape of the one under the cursor; alerts and what is proposed."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.monitor import Bins, Drift, QualityPoint
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import Line, Part, grid, join, line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.door import command
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.browser import Browser
from mlops_tui.tui.screens.runs.charts import steps
from mlops_tui.tui.widgets.curve import Curve
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.table import Table
from mlops_tui.tui.work import start


class DriftMode(Browser):
    """Features of all watched deployments, or of one."""

    SCOPE = "drift"
    MODE = "drift"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("monitor", "label"))
    LISTS: ClassVar[dict[str, str]] = {"features": "drift", "alerts": "alert", "automations": "automation"}
    BINDINGS = bindings("drift", "curve")
    DEFAULT_CSS = """
    DriftMode > #body { layout: grid; grid-size: 20 3; grid-rows: 5fr 4fr 3fr; }
    DriftMode #features { column-span: 11; }
    DriftMode #bins { column-span: 9; }
    DriftMode #quality { column-span: 11; }
    DriftMode #history { column-span: 9; }
    DriftMode #alerts, DriftMode #automations { column-span: 10; }
    DriftMode.-narrow > #body { grid-size: 20 3; grid-rows: 4fr 4fr 3fr; }
    DriftMode.-narrow #features { column-span: 20; }
    DriftMode.-narrow #bins { column-span: 12; }
    DriftMode.-narrow #quality { column-span: 8; }
    DriftMode.-narrow #history { display: none; }
    """

    def __init__(self, only: str = "", feature: str = "") -> None:
        super().__init__()
        self.only, self.feature = only, feature
        self.drift: Drift | None = None

    @property
    def crumb(self) -> str:
        """The mode, or the one deployment."""
        return self.only or super().crumb

    def panels(self) -> ComposeResult:
        """Yield lists, histogram, quality and history."""
        yield Table(
            "Features",
            "panel.open table.sort table.filter",
            empty="nothing is watched yet — mlops monitor add DEPLOYMENT",
            ident="features",
        )
        yield Lines(
            "Reference ░  live █",
            empty="how a feature is spread now, and was before",
            ident="bins",
        )
        yield Lines(
            "Prediction & quality",
            empty="accuracy and drift of the score, once a monitor has judged a window",
            ident="quality",
        )
        yield Curve(
            "Score over the last judgements",
            empty="how a feature drifted, once two windows are judged",
            ident="history",
        )
        yield Table(
            "Alerts", "drift.ack drift.silence", empty="no alert has opened: monitors open them", ident="alerts"
        )
        yield Table(
            "Proposed",
            "drift.retrain=accept app.actions",
            empty="nothing is proposed: alerts propose retraining or a rollback",
            ident="automations",
        )

    def on_mount(self) -> None:
        """Narrow the features to one deployment if asked to."""
        if self.only:
            parts = [f'deployment:"{self.only}"', f'feature:"{self.feature}"' if self.feature else ""]
            self.table("features").filter = " ".join(part for part in parts if part)

    def on_resize(self) -> None:
        """Ask for as many bins as are seen now."""
        self.call_after_refresh(start, self, self.preview, group="preview", replace=True)

    async def load(self, news: News) -> None:
        """Forget the judgement that is shown when there may be a newer one."""
        if news.touches("drift", "monitor", "label"):
            self.drift = None
        await super().load(news)

    async def moved(self, table: Table) -> None:
        """Read the feature under the cursor; of an alert or a proposal the frame says what it says."""
        if table.id == "features":
            await self.preview()
        elif text := table.value("text"):
            table.figure = line((str(text), "dim"))

    async def preview(self) -> None:
        """Show histogram, quality and history of the feature under the cursor."""
        table = self.table("features")
        deployment, feature = table.value("deployment"), table.value("feature")
        bins, quality, history = self.lines("bins"), self.lines("quality"), self.query_one(Curve)
        if not deployment:
            bins.show([])
            quality.show([])
            history.show([])
            return
        if self.drift is None or self.drift.deployment != deployment:
            self.drift = await self.fill([quality, history], self.door.call("drift.show", {"deployment": deployment}))
        if (drift := self.drift) is not None:
            quality.show(lambda cells: judgement(drift, cells))
            judged = [*drift.features, *([drift.score] if drift.score else [])]
            values = next((one.history for one in judged if one.feature == feature), [])
            history.title = f"{feature}, last {len(values)} judgements"
            history.show([steps(feature, values)] if len(values) > 1 else [])
        request = {"deployment": deployment, "feature": feature, "bins": max(4, min(12, bins.room[1] - 1))}
        got: Bins | None = await self.fill(bins, self.door.call("drift.bins", request))
        if got is not None:
            bins.title = f"{feature}   reference ░  live █"
            bins.show(lambda cells: histogram(got, cells))

    async def open_object(self, noun: str, name: str, rest: str = "") -> None:
        """Open a deployment's features, or an alert or proposal whole."""
        if noun in ("drift", "monitor"):
            deployment, _, feature = name.replace("/", " ").partition(" ")
            await self.app.push_screen(DriftMode(deployment, rest or feature))
        else:
            await super().open_object(noun, name)

    def cli(self) -> str:
        """The deployment's drift, or the list, as a command."""
        if self.only:
            return command("drift.show", {"deployment": self.only})
        return super().cli()

    def _alert(self) -> str:
        row = self.table("alerts").current
        if row is None:
            self.complain("there is no alert")
            return ""
        return str(row[0])

    def action_ack(self) -> None:
        """Acknowledge the alert under the cursor."""
        if alert := self._alert():
            self.change("alert.ack", {"alert": alert}, "acknowledge")

    def action_silence(self) -> None:
        """Keep the alert under the cursor quiet for four hours."""
        if alert := self._alert():
            self.change("alert.silence", {"alert": alert, "hours": 4.0}, "silence")

    def action_retrain(self) -> None:
        """Accept the proposal under the cursor."""
        row = self.table("automations").current
        if row is None:
            self.complain("nothing is proposed")
            return
        self.change("automation.run", {"automation": row[0]}, "accept")

    def action_rollback(self) -> None:
        """Bring the deployment under the cursor back to what it served before."""
        if deployment := self.only or self.table("features").value("deployment"):
            self.change("rollout.rollback", {"deployment": deployment}, "roll back")


def judgement(drift: Drift, cells: int) -> list[Line]:
    """Return the verdict on a deployment, its score's drift, and quality on late labels."""
    lines = [
        join(
            [line(drift.deployment, (f" {drift.model}", "dim")), words.state(drift.verdict), line((drift.text, "dim"))]
        ),
        join([line(("reference ", "dim"), drift.reference), line(("rows ", "dim"), f"{drift.rows:,}")], "   "),
    ]
    if drift.score is not None:
        score = drift.score
        figures = [("PSI", score.psi), ("JS", score.js), ("KS", score.ks)]
        told = join([line((f"{name} ", "dim"), fmt.fixed(value, 3)) for name, value in figures if value is not None])
        lines.append(
            join(
                [
                    line(("score drift", "dim")),
                    told,
                    words.state(score.verdict),
                    line((fmt.spark(score.history), "accent")),
                ]
            )
        )
    return [*lines, *quality(drift.quality, cells)]


def quality(points: list[QualityPoint], cells: int) -> list[Line]:
    """Return accuracy and AUC in the newest window with their course, and how many labels have come."""
    if not points:
        return [line(("no labels have come yet", "dim"))]
    newest = points[-1]
    rows: list[list[Part]] = []
    room = max(6, min(24, cells - 20))
    for name, values in (("accuracy", [p.accuracy for p in points]), ("auc", [p.auc for p in points])):
        if any(value is not None for value in values):
            rows.append([(name, "dim"), fmt.fixed(values[-1], 3), (fmt.spark(values, room), "accent")])
    known = f"labels for {fmt.share(newest.coverage)} of {newest.n:,} rows"
    kind = "estimated without labels" if newest.estimated else known
    return [*grid(rows), line((kind, "dim"))]


def histogram(bins: Bins, cells: int) -> list[Line]:
    """Return a line a bin: its range, the reference's share behind and the live one before it."""
    most = max([*bins.reference, *bins.live, 1e-9])
    room = max(4, (cells - max((len(label) for label in bins.labels), default=0) - 16) // 2)
    rows: list[list[Part]] = [
        [
            (label, "dim"),
            (fmt.bar(then / most, room, "░"), "dim"),
            (fmt.share(then, 1), "dim"),
            (fmt.bar(now / most, room), "accent"),
            fmt.share(now, 1),
        ]
        for label, then, now in zip(bins.labels, bins.reference, bins.live, strict=True)
    ]
    none = ("  no live traffic in this window", "warn") if not bins.n_live else ()
    return [*grid(rows, "llrlr", gap=1), line((f"n {bins.n_reference:,} / {bins.n_live:,}", "dim"), none)]


MODE_SCREEN = DriftMode
