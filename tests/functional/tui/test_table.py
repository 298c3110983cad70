from __future__ import annotations

import asyncio

import pytest
from textual.app import App

from mlops_tui.core.errors import NotFound, Unreachable
from mlops_tui.tui.drawing.theme import textual_themes
from mlops_tui.tui.news.views import PAGE
from mlops_tui.tui.widgets.table import Table


class Host(App):
    """An app around one table."""

    def __init__(self, source, **options):
        super().__init__()
        for theme in textual_themes():
            self.register_theme(theme)
        self.theme = "mlops-dark"
        self.source, self.options, self.got = source, options, []

    def compose(self):
        yield Table("Runs", source=self.source, ident="t", **self.options)

    async def on_mount(self):
        table = self.query_one(Table)
        table.focus()
        await table.reopen()

    def on_table_opened(self, event):
        self.got.append(event.row[1])


@pytest.fixture
def opened(settle):
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def run(source, size=(100, 24), **options):
        app = Host(source, **options)
        async with app.run_test(size=size) as pilot:
            await settle(pilot, 0.05)
            yield app, pilot, app.query_one(Table)

    return run


async def test_a_million_rows_cost_a_page(opened, many_rows, screen_text):
    source = many_rows()
    async with opened(source) as (app, _, table):
        assert source.pages == [("v1", 0, PAGE)]
        assert table.title == "Runs (1,000,000)"
        text = screen_text(app)
        assert "resnet-000000" in text[2] and "resnet-000019" in text[21]
        assert "999,979 more ↓" in text[23]


async def test_an_opening_that_is_overtaken_does_not_show_what_nobody_asks_for_any_more(opened, many_rows, until):
    source, slow = many_rows(), asyncio.Event()
    opens = source.open

    async def late(filter, sort, columns=()):
        view = await opens(filter, sort, columns)
        if not filter:
            await slow.wait()
        return view

    async with opened(source) as (_, pilot, table):
        source.open = late
        table.cursor = 5
        news = asyncio.create_task(table.reopen(keep=True))
        await pilot.pause()
        table.set_filter("resnet")
        await until(pilot, lambda: table.cursor == 0)
        shown = table.window
        slow.set()
        await news
        assert table.window is shown


async def test_the_end_is_one_page_away(opened, many_rows, screen_text, settle):
    source = many_rows()
    async with opened(source) as (app, pilot, table):
        await pilot.press("G")
        await settle(pilot, 0.05)
        assert table.cursor == 999_999
        assert "resnet-999999" in screen_text(app)[22] or "resnet-999999" in "\n".join(screen_text(app))
        assert len(source.pages) == 2 and source.pages[1][1] == 999_999 // PAGE * PAGE
        await pilot.press("g")
        assert table.cursor == 0 and table.top == 0


async def test_a_cursor_key_paints_two_rows_and_no_more(opened, many_rows):
    async with opened(many_rows()) as (_, pilot, table):
        painted = []
        table.refresh = lambda *regions, **options: painted.append(regions)
        await pilot.press("down")
        assert [region[0].y for region in painted] == [2, 3]
        assert all(region[0].height == 1 for region in painted)


async def test_leaving_the_window_scrolls_by_a_third(opened, many_rows):
    async with opened(many_rows()) as (_, pilot, table):
        height = table.room[1]
        for _ in range(height - 1):
            await pilot.press("down")
        assert table.top == 0
        await pilot.press("down")
        assert table.cursor == height and table.top == 1 + height // 3


async def test_pages_beyond_the_kept_ones_are_read_again(opened, many_rows, settle):
    source = many_rows()
    async with opened(source) as (_, pilot, table):
        for place in range(0, 40 * PAGE, PAGE):
            table._go(place)
            await settle(pilot, 0.01)
        assert len(table.window.pages) == 32
        before = len(source.pages)
        table._go(0)
        await settle(pilot, 0.02)
        assert len(source.pages) == before + 1
        assert table.current[1] == "resnet-000000"


async def test_sort_by_the_marked_column_and_back(opened, many_rows, settle):
    source = many_rows()
    async with opened(source) as (_, pilot, _table):
        await pilot.press("right", "right", "s")
        await settle(pilot, 0.05)
        assert source.opened[-1] == ("", "-value")
        await pilot.press("s")
        await settle(pilot, 0.05)
        assert source.opened[-1] == ("", "value")


async def test_the_filter_stands_in_the_title_and_nothing_found_says_so(opened, many_rows, screen_text, settle):
    source = many_rows()
    async with opened(source) as (app, pilot, table):
        table.set_filter("status:done")
        await settle(pilot, 0.05)
        assert table.title == "Runs (1,000,000)  /status:done"
        table.set_filter("nothing")
        await settle(pilot, 0.05)
        assert "nothing matches nothing" in screen_text(app)[1]


async def test_an_empty_list_says_what_fills_it(opened, many_rows, screen_text):
    async with opened(many_rows(0), empty="no runs yet — mlops train script.py") as (app, _, _table):
        assert "no runs yet — mlops train script.py" in screen_text(app)[1]


async def test_selection_is_kept_by_id_and_counted(opened, many_rows, screen_text):
    async with opened(many_rows()) as (app, pilot, table):
        await pilot.press("space", "space")
        assert [row[1] for row in table.chosen] == ["resnet-000000", "resnet-000001"]
        assert "2 selected" in screen_text(app)[0] and "●" in screen_text(app)[2]
        await pilot.press("up", "space")
        assert [row[1] for row in table.chosen] == ["resnet-000000"]


async def test_enter_opens_the_row_under_the_cursor(opened, many_rows):
    async with opened(many_rows()) as (app, pilot, _):
        await pilot.press("j", "j", "k", "enter")
        assert app.got == ["resnet-000001"]


async def test_news_changes_values_in_place_and_never_the_order_under_a_cursor(opened, many_rows, screen_text, settle):
    source = many_rows(500)
    async with opened(source) as (app, pilot, table):
        await pilot.press("down", "down")
        views = len(source.opened)
        source.renamed[1] = "renamed-by-somebody"
        await table.news([source.row(1)[0], "an-id-that-is-new"])
        await settle(pilot, 0.05)
        text = screen_text(app)
        assert "renamed-by-somebody" in text[3]
        assert "1 news · r" in text[0]
        assert table.cursor == 2 and len(source.opened) == views
        table.renew()
        await settle(pilot, 0.05)
        assert len(source.opened) == views + 1 and "news" not in screen_text(app)[0]
        assert table.cursor == 2


async def test_an_untouched_list_takes_new_rows_in_by_itself(opened, many_rows, settle):
    source = many_rows(500)
    async with opened(source) as (_, pilot, table):
        source.total = 501
        await table.news(["new"])
        await settle(pilot, 0.05)
        assert table.total == 501 and table.cursor == 0


async def test_trouble_keeps_what_was_shown_and_says_why(opened, many_rows, screen_text, settle):
    source = many_rows(500)
    async with opened(source) as (app, pilot, table):
        await pilot.press("down")
        source.fail = Unreachable("the agent is gone", "no answer", "mlops agent start")
        await table.news(["x"])
        await settle(pilot, 0.05)
        text = screen_text(app)
        assert "resnet-000000" in text[2] and "✖ the agent is gone" in text[23]
        source.fail = None
        await table.reread()
        await settle(pilot, 0.05)
        assert "agent is gone" not in screen_text(app)[23]


async def test_a_view_that_expired_is_opened_again(opened, many_rows, settle):
    source = many_rows(5_000)
    async with opened(source) as (_, pilot, table):
        await pilot.press("down")
        real = source.page

        async def once(view, offset, limit):
            source.page = real
            raise NotFound("this list is no longer held")

        source.page = once
        await pilot.press("G")
        await settle(pilot, 0.1)
        assert len(source.opened) == 2 and table.cursor == 4_999
        assert table.current[1] == "resnet-004999"


async def test_an_error_at_first_is_a_card_in_place(opened, many_rows, screen_text):
    source = many_rows()
    source.fail = Unreachable("no agent is running", "nothing listens", "mlops agent start")
    async with opened(source) as (app, _, _table):
        text = "\n".join(screen_text(app))
        for part in ("✖ no agent is running", "nothing listens", "→ mlops agent start", "MLOPS-E0700", "r try again"):
            assert part in text


async def test_whoever_asks_for_all_news_stays_where_they_are(opened, many_rows, settle):
    async with opened(many_rows(500)) as (_, pilot, table):
        await pilot.press("down", "down", "down")
        table.renew()
        await settle(pilot, 0.05)
        await table.news((), all=True)
        await settle(pilot, 0.05)
        assert table.cursor == 3 and not table.touched


async def test_narrow_lists_give_the_id_away_and_stale_ones_go_faint(opened, many_rows, screen_text):
    async with opened(many_rows(), size=(60, 12)) as (app, pilot, table):
        assert "0193a000" not in screen_text(app)[2] and "resnet-000000" in screen_text(app)[2]
        table.stale = "stale 40s · agent lost"
        await pilot.pause()
        assert "stale 40s · agent lost" in screen_text(app)[11]
        faint = app.get_css_variables()["faint"]
        drawn = table.render_line(3)
        colours = {segment.style.color.triplet.hex for segment in drawn if "resnet" in segment.text}
        assert colours == {faint.lower()}


async def test_rows_that_were_deleted_say_so(opened, many_rows, screen_text, settle):
    source = many_rows(500)
    async with opened(source) as (app, pilot, table):
        await pilot.press("down")
        real = source.row
        source.row = lambda i: [real(i)[0], None, None, None, None] if i == 4 else real(i)
        await table.news([])
        await settle(pilot, 0.05)
        assert "was deleted" in screen_text(app)[6]


async def test_the_mouse_moves_scrolls_and_opens(opened, many_rows):
    async with opened(many_rows()) as (app, pilot, table):
        await pilot.click(Table, offset=(10, 5))
        assert table.cursor == 3
        await pilot.double_click(Table, offset=(10, 5))
        assert app.got == ["resnet-000003"]


async def test_inspect_shows_values_whole_and_short_again(opened, many_rows, screen_text):
    async with opened(many_rows(), size=(140, 12)) as (app, pilot, _table):
        assert "0193a000-0000" not in screen_text(app)[2]
        await pilot.press("i")
        assert "0193a000-0000-7000-8000-000000000000" in screen_text(app)[2] and "2026-09-2" in screen_text(app)[2]
        await pilot.press("i")
        assert "0193a000-0000" not in screen_text(app)[2]


async def test_the_page_that_comes_next_is_read_before_it_is_needed(opened, many_rows, settle):
    source = many_rows()
    async with opened(source) as (_, pilot, table):
        table._go(PAGE - 2 * table.room[1] + 1)
        await settle(pilot, 0.05)
        assert [offset for _, offset, _ in source.pages] == [0, PAGE]
