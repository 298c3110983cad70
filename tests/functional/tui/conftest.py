"""A door with written answers, for what the screens do with them; the real agent is in ``test_agent.py``."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import msgspec
import pytest
from textual.css.query import NoMatches

from mlops_tui.contracts import Done, Plan
from mlops_tui.contracts.listing import Column, Page, Table, View
from mlops_tui.contracts.listing import Table as TableOf
from mlops_tui.contracts.operation import find
from mlops_tui.core.config import load
from mlops_tui.core.errors import MlopsError, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.tui.app import MlopsApp
from mlops_tui.tui.drawing.text import plain
from mlops_tui.tui.news.hub import News

COLUMNS = [
    Column(name="id", label="id", kind="id"),
    Column(name="name", label="name"),
    Column(name="status", label="status", kind="status"),
    Column(name="value", label="auc", kind="float"),
    Column(name="started", label="started", kind="time"),
]


class ManyRows:
    """A list of any length at the edge of the table: rows are made when they are asked for."""

    def __init__(self, total=1_000_000):
        self.total, self.opened, self.pages = total, [], []
        self.renamed: dict[int, str] = {}
        self.fail: MlopsError | None = None
        self.generation = 0

    async def open(self, filter, sort, columns=()):
        if self.fail:
            raise self.fail
        self.generation += 1
        self.opened.append((filter, sort))
        return View(
            view=f"v{self.generation}", noun="run", total=0 if filter == "nothing" else self.total, columns=COLUMNS
        )

    async def page(self, view, offset, limit):
        self.pages.append((view, offset, limit))
        if self.fail:
            raise self.fail
        await asyncio.sleep(0)
        return [self.row(i) for i in range(offset, min(self.total, offset + limit))]

    async def one(self, identifier, columns=()):
        return next((row for row in map(self.row, range(10)) if row[0] == identifier), None)

    def row(self, i):
        name = self.renamed.get(i, f"resnet-{i:06d}")
        return [
            f"0193a000-0000-7000-8000-{i:012x}",
            name,
            ("done", "failed", "running")[i % 3],
            i / 1000,
            1_790_000_000_000_000,
        ]


class Scripted:
    """Answers calls from a table; a list behind every noun; a feed that tests speak into."""

    def __init__(self, answers=None, total=300):
        self.answers = {"audit.verify": None, **(answers or {})}
        self.calls: list[tuple[str, dict]] = []
        self.applied: list[tuple[str, dict, str]] = []
        self.rows = ManyRows(total)
        self.feed: asyncio.Queue = asyncio.Queue()
        self.problem: MlopsError | None = None

    async def reach(self):
        if self.problem:
            raise self.problem

    async def close(self):
        pass

    async def events(self, since=None):
        while True:
            event = await self.feed.get()
            if isinstance(event, MlopsError):
                raise event
            yield event

    def say(self, topic, object_="x", seq=1, **more):
        self.feed.put_nowait({"seq": seq, "ts": 1, "topic": topic, "object": object_, "action": "changed", **more})

    async def call(self, operation, request=None, *, digest=""):
        request = request or {}
        self.calls.append((operation, request))
        if self.problem:
            raise self.problem
        if operation == "view.open":
            view = await self.rows.open(request["filter"], request["sort"])
            view.noun = request["noun"]
            return view
        if operation == "run.list" and request.get("filter", "").startswith('id:"'):
            row = await self.rows.one(request["filter"].split('"')[1])
            return TableOf(noun="run", columns=COLUMNS, rows=[row] if row else [], total=1)
        if operation == "view.page":
            return Page(rows=await self.rows.page(request["view"], request["offset"], request["limit"]))
        if digest:
            self.applied.append((operation, request, digest))
            return Done(object="x", text=f"{operation} was done")
        answer = self.answers.get(operation)
        if isinstance(answer, MlopsError):
            raise answer
        if answer is None:
            raise NotFound(f"nothing was written for {operation}", "", "")
        return answer(request) if callable(answer) else answer

    async def plan(self, operation, request=None):
        made = Plan(
            operation=operation, object="model:churn", text="churn's champion becomes version 2", digest="d1g35t00"
        )
        made.changes = []
        made.cli = "mlops model alias churn@2 champion"
        return made


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings in force, read from nowhere."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)

    def made(**flags):
        return load({"theme": "mlops-dark", "user": "amal", **flags})

    return made


@pytest.fixture
def open_app(settings):
    """Run the app over a door: ``async with open_app(door, size=(80, 24)) as (app, pilot)``."""

    @asynccontextmanager
    async def opened(door, size=(120, 36), link="", **flags):
        app = MlopsApp(door, settings(**flags), link=link, period=0.05)
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            yield app, pilot

    return opened


async def settle(pilot, seconds=0.1):
    """Let news, reads and paints run their course: at least so long, and until nothing is under way."""
    await pilot.pause(seconds)
    for _ in range(150):
        if not _busy(pilot.app):
            break
        await pilot.pause(0.02)
    await pilot.pause()


def _busy(app):
    """Return whether a worker is at work, or a screen that is seen has yet to hear of something."""
    if any(one.is_running and one.group != "hub" for one in app.workers) or getattr(app.screen, "rest", None):
        return True
    if (hub := getattr(app, "hub", None)) is None or hub.paused or hub.contact.state != "live":
        return False
    return any(news != News() or one in hub._all for one, news in hub._listeners.items() if one.seen)


def screen_text(app):
    """Return what is on the screen, line by line."""
    width, height = app.size
    console_lines = app.screen._compositor.render_strips(app.size)
    return [strip.text.ljust(width) for strip in console_lines[:height]]


@pytest.fixture(name="settle")
def settle_fixture():
    return settle


async def until(pilot, condition, seconds=10.0):
    """Wait for what must come to be, and assert it."""
    for _ in range(int(seconds / 0.05)):
        try:
            if condition():
                return
        except NoMatches:
            pass
        await pilot.pause(0.05)
    assert condition()


@pytest.fixture(name="until")
def until_fixture():
    return until


@pytest.fixture(name="screen_text")
def screen_text_fixture():
    return screen_text


@pytest.fixture
def scripted():
    return Scripted


@pytest.fixture
def many_rows():
    return ManyRows


@pytest.fixture
def lines_of():
    """Return the texts of a panel's rows."""

    def read(app, selector):
        return [plain(row.line) for row in app.screen.query_one(selector).rows]

    return read


class Written(Scripted):
    """A whole small world of answers, written in ``tests/snapshots/answers.json`` at one moment."""

    def __init__(self, path):
        from mlops_tui.contracts import OPERATIONS

        world = msgspec.json.decode(path.read_bytes())
        answers = {}
        for name, raw in world["answers"].items():
            kind = OPERATIONS[name].answer
            if "*" in raw:
                by_name = {key: msgspec.convert(one, kind) for key, one in raw.items()}
                answers[name] = lambda request, by=by_name: by.get(next(iter(request.values())), by["*"])
            else:
                answers[name] = msgspec.convert(raw, kind)
        super().__init__(answers)
        self.now, self.groups = world["now"], world["groups"]
        self.lists = {
            noun: ([msgspec.convert(column, Column) for column in one["columns"]], one["rows"])
            for noun, one in world["lists"].items()
        }

    async def call(self, operation, request=None, *, digest=""):
        request = request or {}
        if operation == "view.open":
            self.calls.append((operation, request))
            columns, rows = self.lists[request["noun"]]
            return View(view=request["noun"], noun=request["noun"], total=len(rows), columns=columns)
        if operation == "view.page":
            rows = self.lists[request["view"]][1]
            return Page(rows=rows[request["offset"] : request["offset"] + request["limit"]])
        if request.get("group_by"):
            return msgspec.convert(self.groups, Table)
        noun = operation.removesuffix(".list")
        if noun != operation and noun in self.lists:
            columns, rows = self.lists[noun]
            return Table(noun=noun, columns=columns, rows=rows, total=len(rows))
        return await super().call(operation, request, digest=digest)


@pytest.fixture
def written(monkeypatch):
    """A door with the written world; time stands still at its moment, in UTC."""
    import time
    from pathlib import Path

    door = Written(Path(__file__).parents[2] / "snapshots" / "answers.json")
    for module in ("core.clock", "tui.screens.home.mode", "tui.screens.models.version"):
        monkeypatch.setattr(f"mlops_tui.{module}.now_us", lambda: door.now)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield door
    monkeypatch.undo()
    time.tzset()


class HouseDoor:
    """The door of a house in this process: the same path as over the socket, without the socket."""

    def __init__(self, house):
        from mlops_tui.door.context import Caller
        from mlops_tui.door.perform import Wish, perform

        self.house, self._perform, self._wish = house, perform, Wish
        self.caller = Caller("tester", os.getuid())

    async def reach(self):
        return None

    async def close(self):
        return None

    async def _ask(self, operation, request, wish):
        from dataclasses import replace

        body = msgspec.convert(request or {}, find(operation).request)
        caller = replace(self.caller, request_id=uuid7())
        return await asyncio.to_thread(self._perform, self.house, operation, body, caller, wish)

    async def call(self, operation, request=None, *, digest=""):
        return await self._ask(operation, request, self._wish(digest=digest))

    async def plan(self, operation, request=None):
        return await self._ask(operation, request, self._wish(dry_run=True))

    async def events(self, since=None):
        loop, queue = asyncio.get_running_loop(), asyncio.Queue()
        leave = self.house.feed.listen(lambda event: loop.call_soon_threadsafe(queue.put_nowait, event))
        try:
            while True:
                yield msgspec.to_builtins(await queue.get())
        finally:
            leave()


@pytest.fixture
def house_door(house):
    return HouseDoor(house)
