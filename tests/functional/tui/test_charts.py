"""A page of charts by itself: how many there are, and that they move together."""

from __future__ import annotations

from textual.app import App

from mlops_tui.tui.drawing.raster import series
from mlops_tui.tui.drawing.theme import textual_themes
from mlops_tui.tui.widgets.charts import Charts


class Host(App):
    """An app around one page of charts."""

    def __init__(self):
        super().__init__()
        for theme in textual_themes():
            self.register_theme(theme)
        self.theme = "mlops-dark"
        self.turned = []

    def compose(self):
        yield Charts(empty="no metric has been logged")

    def on_charts_turned(self, event):
        self.turned.append(event.charts.page)
        self.draw(event.charts)

    def draw(self, charts):
        charts.show({name: [series(name, [0, 50, 100], [1.0, 2.0, 3.0])] for name in charts.page})


def seen(charts):
    return [chart for chart in charts.charts if chart.display]


async def test_as_many_charts_as_there_is_room_for(screen_text):
    async with Host().run_test(size=(80, 20)) as pilot:
        charts = pilot.app.query_one(Charts)
        assert "no metric has been logged" not in screen_text(pilot.app)[1]  # nobody knows that yet
        charts.offer(())
        await pilot.pause()
        assert "no metric has been logged" in screen_text(pilot.app)[1]
        charts.offer(list("abcde"))
        pilot.app.draw(charts)
        await pilot.pause()
        assert charts.page == tuple("abcd") and len(seen(charts)) == 4
        assert "a  (1–4 of 5)" in screen_text(pilot.app)[0]
        charts.turn(1)
        await pilot.pause()
        assert pilot.app.turned[-1] == ("e",) and len(seen(charts)) == 1
        assert "e  (5 of 5)" in screen_text(pilot.app)[0]
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        assert charts.page == ("e",)
        charts.bring("b")
        await pilot.pause()
        assert charts.page == ("b",) and len(seen(charts)) == 1


async def test_charts_zoom_and_point_together(screen_text):
    async with Host().run_test(size=(80, 10)) as pilot:
        charts = pilot.app.query_one(Charts)
        charts.offer(["a", "b"])
        pilot.app.draw(charts)
        seen(charts)[0].focus()
        await pilot.press("i", "left", "left")
        await pilot.pause()
        first, second = (chart.drawn() for chart in seen(charts))
        assert first.reading and first.reading == second.reading
        assert screen_text(pilot.app)[3].count("│") >= 8
        await pilot.press("plus")
        await pilot.pause()
        first, second = (chart.drawn() for chart in seen(charts))
        assert first.x1 - first.x0 == second.x1 - second.x0 == 50
        assert pilot.app.turned == [("a", "b")] and charts.part[1] - charts.part[0] in (50, 51)
        await pilot.press("i", "left")
        await pilot.pause()
        assert seen(charts)[1].drawn().x1 < 100 and not seen(charts)[1].drawn().reading


async def test_one_zooms_down_to_single_steps_of_a_long_curve(open_app, scripted, settle):
    from mlops_tui.tui.drawing.raster import series
    from mlops_tui.tui.widgets.curve import Curve

    async with open_app(scripted()) as (app, pilot):
        chart = app.face.query(Curve).first() if app.face.query(Curve) else Curve("c")
        if not chart.is_mounted:
            await app.face.query_one("#body").mount(chart)
        await settle(pilot)
        steps = list(range(0, 1_000_000, 2500))
        chart.show([series("loss", steps, [1.0 if s else -1.0 for s in steps])])
        for _ in range(20):
            chart.action_scale(0.5)
        assert 9 <= chart.drawn().x1 - chart.drawn().x0 <= 11
        chart.action_log_scale()
        assert chart.note() == "log y, ≤ 0 left out · last 0.001 %"
        chart.show([series("loss", steps, [-1.0 for _ in steps])])
        assert "nothing above 0" in chart.note()
