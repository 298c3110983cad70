"""A worker's end of the line to its supervisor: found, lost and found again; orders and words come in by it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any, Protocol

from mlops_tui.core.errors import MlopsError
from mlops_tui.serving.control import Channel, Message
from mlops_tui.serving.deployment import CONTROL, Generation

_RECONNECT_S = 0.2
_log = logging.getLogger("mlops.serving")


class Owner(Protocol):
    """Who has the line: says hello, and hears what is neither a word on the order in hand nor the next order."""

    def hello(self) -> tuple[Message, list[int]]:
        """Return what a supervisor is told first, with the files that it needs to take over."""

    def ordered(self, models: dict[str, int], engines: dict[str, Any]) -> None:
        """An order has come, to be carried out in its turn.

        Args:
            models: the models' memory files by their keys; they belong to the owner at once.
            engines: what is to be known of models that run in processes of their own.
        """

    def told(self, message: Message, files: list[int]) -> None:
        """The supervisor says something else."""

    def lost(self) -> None:
        """The supervisor is gone."""


class Line:
    """The line of one worker; the process must be in the deployment's folder."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._channel: Channel | None = None
        self._retry_at = 0.0
        self._orders: asyncio.Queue[Message] = asyncio.Queue()
        self._words: asyncio.Queue[Message] = asyncio.Queue()

    @property
    def up(self) -> bool:
        """Tell whether there is a supervisor."""
        return self._channel is not None

    @property
    def pressing(self) -> bool:
        """Tell whether another order waits."""
        return not self._orders.empty()

    def connect(self) -> None:
        """Look for a supervisor, if none was looked for a moment ago."""
        if time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + _RECONNECT_S
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(CONTROL)
            channel = Channel(sock)
            channel.send(*self._owner.hello())
        except OSError:
            sock.close()
            return
        self._channel = channel
        asyncio.get_running_loop().add_reader(sock.fileno(), self._hear, channel)

    def _hear(self, channel: Channel) -> None:
        try:
            for message, files in channel.receive():
                if message["op"] == "routes":
                    self._owner.ordered(dict(zip(message["models"], files, strict=False)), message.get("engines", {}))
                    self._orders.put_nowait(message)
                    self._words.put_nowait({"op": "newer", "at": None})
                elif message["op"] in ("switch", "drop"):
                    self._words.put_nowait(message)
                else:
                    self._owner.told(message, files)
        except EOFError:
            asyncio.get_running_loop().remove_reader(channel.sock.fileno())
            channel.close()
            self._channel = None
            self._owner.lost()

    def say(self, message: Message) -> bool:
        """Tell the supervisor something; False when it does not hear."""
        if self._channel is None:
            return False
        try:
            self._channel.send(message)
        except OSError:
            _log.warning("the supervisor does not listen")
            return False
        return True

    async def order(self) -> Message:
        """Wait for an order; of several the newest counts."""
        order = await self._orders.get()
        while self.pressing:
            order = self._orders.get_nowait()
        return order

    async def agreed(self, at: Generation, within_s: float) -> bool:
        """Wait until every worker has loaded the routes, so that all go over in one moment.

        Returns:
            False when others are coming, or another worker could not take these in.

        Raises:
            MlopsError: the supervisor is gone.
        """
        while not self._words.empty():
            self._words.get_nowait()
        self.say({"op": "loaded", "at": list(at)})
        while not self.pressing:
            try:
                word = await asyncio.wait_for(self._words.get(), within_s)
            except TimeoutError:
                raise MlopsError("nobody said that every worker has loaded them") from None
            if word["op"] in ("switch", "drop") and tuple(word["at"]) == at:
                return bool(word["op"] == "switch")
        return False
