"""A worker's line to its supervisor, over a real socket: orders and words in, files with them, loss and return."""

import asyncio
import os
import socket

import pytest

from mlops_tui.core.errors import MlopsError
from mlops_tui.serving.control import Channel
from mlops_tui.serving.deployment import CONTROL
from mlops_tui.serving.process.line import Line


class Owner:
    def __init__(self):
        self.files, self.heard, self.losses = {}, [], 0

    def hello(self):
        return {"op": "hello", "slot": 3}, []

    def ordered(self, models, engines):
        self.files |= models

    def told(self, message, files):
        self.heard.append(message["op"])

    def lost(self):
        self.losses += 1


@pytest.fixture
def control(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(CONTROL)
        sock.listen()
        yield sock


def answered(control):
    """Return the supervisor's end of a line that was opened, after its hello."""
    channel = Channel(control.accept()[0])
    assert [message for message, _ in channel.receive()] == [{"op": "hello", "slot": 3}]
    return channel


def order(generation):
    return {"op": "routes", "routes": {"generation": generation}, "models": []}


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def test_of_several_orders_the_newest_counts_and_files_of_all_are_taken_at_once(control):
    async def scene():
        owner = Owner()
        line = Line(owner)
        line.connect()
        supervisor = answered(control)
        with open(os.devnull, "rb") as file:
            supervisor.send({**order(1), "models": ["a"]}, [file.fileno()])
        supervisor.send({"op": "drain"})
        supervisor.send(order(2))
        await until(lambda: owner.heard == ["drain"])
        await until(lambda: line._orders.qsize() == 2)
        assert list(owner.files) == ["a"]
        assert (await line.order())["routes"] == {"generation": 2} and not line.pressing
        os.close(owner.files["a"])
        supervisor.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("word", "verdict"),
    [({"op": "switch", "at": [1, 7]}, True), ({"op": "drop", "at": [1, 7]}, False), (order(8), False)],
)
def test_workers_go_over_together_or_not_at_all(control, word, verdict):
    async def scene():
        line = Line(Owner())
        line.connect()
        supervisor = answered(control)
        waiting = asyncio.create_task(line.agreed((1, 7), 5.0))
        await asyncio.sleep(0)
        assert supervisor.receive()[0][0] == {"op": "loaded", "at": [1, 7]}
        supervisor.send({"op": "switch", "at": [1, 6]})  # for others, long gone
        supervisor.send(word)
        assert await waiting is verdict
        supervisor.close()

    asyncio.run(scene())


def test_nobody_says_that_all_have_loaded(control):
    with pytest.raises(MlopsError, match="nobody said"):
        asyncio.run(Line(Owner()).agreed((1, 7), 0.01))


def test_a_lost_supervisor_is_told_of_and_the_next_one_is_greeted(control):
    async def scene():
        owner = Owner()
        line = Line(owner)
        line.connect()
        answered(control).close()
        await until(lambda: owner.losses)
        assert not line.up and not line.say({"op": "serving"})
        line.connect()  # too soon: nothing happens
        assert not line.up
        line._retry_at = 0.0
        line.connect()
        assert line.up
        answered(control).close()

    asyncio.run(scene())
