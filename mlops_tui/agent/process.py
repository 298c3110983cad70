"""The agent's life: lock, open, serve, drain, leave. Whatever kills it, the next one picks everything up."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from typing import Any

import uvicorn
import uvloop

from mlops_tui.agent.http import application
from mlops_tui.agent.ingest import Ingestor
from mlops_tui.agent.listener import Gate, Loopback, quiet_server
from mlops_tui.agent.mlflow.wire import Wire
from mlops_tui.agent.peers import OwnUserProtocol
from mlops_tui.agent.rooms import open_rooms
from mlops_tui.agent.schedules import Schedules
from mlops_tui.blobs import Blobs
from mlops_tui.core.config import load
from mlops_tui.core.errors import MlopsError, StoreLocked
from mlops_tui.core.paths import Home, private_dir
from mlops_tui.door.house import House
from mlops_tui.door.registry import AWAKE
from mlops_tui.governance import audit
from mlops_tui.governance.guard import RoleGuard
from mlops_tui.hardware.limits import memory_total
from mlops_tui.keys import open_keys
from mlops_tui.plugins.loader import key_sources
from mlops_tui.store.store import Store

log = logging.getLogger(__name__)
_MUCH = 1 << 20
"""Bytes in one turn above which ingestion does not pause for more to come."""
_GATHER = 20
"""How many times as long as a turn took is waited after it: what trickles in costs a twentieth of a core."""
_CATCH_UP_S = 1.0
"""Seconds for which a starting agent reads what lies there before it answers."""


class Agent:
    """One running agent of one home."""

    def __init__(self, home: Home, *, stay: bool = False) -> None:
        """Take the lock, open keys, artifacts and store, and recover what an earlier agent left.

        Raises:
            StoreLocked: another agent runs.
            MlopsError: keys or store cannot be opened.
        """
        self.pid = os.getpid()
        self._lock = _lock(home)
        config = load(where=home)
        for folder in (home.data, home.spool, home.state, home.logs, home.jobs, home.deployments):
            private_dir(folder)
        keys = open_keys(home, config, key_sources())
        self.notice = keys.announcement
        memory_mb = int(config.get("agent.memory_mb")) or min(1000, memory_total() * 15 // 100 // 2**20)
        threads = max(1, min(4, (os.cpu_count() or 1) // 2))
        store = Store(home.store, keys.store_key if keys.mode != "off" else None, memory_mb=memory_mb, threads=threads)
        open_rooms()
        self.store_id = keys.meta.store_id
        self.house = House(home, config, store, keys, Blobs(home.blobs, keys), RoleGuard(), stay=stay)
        self.ingestor = Ingestor(self.house)
        self.house.ingestor = self.ingestor
        self._application = Wire(self.house, application(self), self.used)
        self.house.journal = self._application.journal
        self.house.loopback = Loopback(self.house, self._application)
        self._schedules = Schedules(self.house)
        self._last_use = time.monotonic()
        self._lags: deque[float] = deque(maxlen=600)
        self._hurry = threading.Event()
        self.house.on_wake("agent.ingest", self._hurry.set)

    def used(self) -> None:
        """Remember that somebody is here."""
        self._last_use = time.monotonic()

    def run(self, ready: Any = lambda: None) -> None:
        """Serve until SIGTERM, ``agent.stop`` or idleness; then drain and close.

        Args:
            ready: called once the socket listens.
        """
        self._catch_up()
        listener = _bind(self.house.home)
        ingesting = threading.Thread(target=self._ingest_loop, name="ingest", daemon=True)
        ingesting.start()
        self._schedules.start()
        try:
            uvloop.run(self._serve(listener, ready))
        finally:
            self.house.leaving.set()
            self.house.home.socket.unlink(missing_ok=True)
            ingesting.join(timeout=10)
            self._schedules.stop()
            self.ingestor.drain()
            with contextlib.suppress(MlopsError):  # what cannot be signed on a full disk is signed after the next start
                audit.sign(self.house)
            self.house.store.close()
            os.close(self._lock)

    async def _serve(self, listener: socket.socket, ready: Any) -> None:
        server = quiet_server(Gate(self._application), OwnUserProtocol)
        loop = asyncio.get_running_loop()
        for wanted in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(wanted, self.house.leaving.set)
        self.house.loopback.runs_on(loop)
        loop.run_in_executor(None, self.house.loopback.reopen)
        watching = asyncio.create_task(self._watch(server))
        loop.call_soon(ready)
        await server.serve(sockets=[listener])
        await self.house.loopback.close()
        self._application.journal.close()
        watching.cancel()

    async def _watch(self, server: uvicorn.Server) -> None:
        """Measure the loop's lag and leave when told, or when nobody needs us."""
        while not self.house.leaving.is_set():
            before = time.monotonic()
            await asyncio.sleep(0.1)
            self._lags.append((time.monotonic() - before - 0.1) * 1000)
            ordered = sorted(self._lags)
            self.house.facts["loop_lag_p99_ms"] = ordered[int(len(ordered) * 0.99)] if ordered else 0.0
            if self.house.store.gone.is_set():
                log.error("leaving: the store has to be opened again; the next agent takes everything up")
                self.house.leaving.set()
            elif await self._idle():
                log.info("leaving: nothing to do for a while")
                self.house.leaving.set()
        server.should_exit = True

    async def _idle(self) -> bool:
        limit = float(self.house.config.get("agent.idle_exit_s"))
        if self.house.stay or not limit or time.monotonic() - self._last_use < limit:
            return False
        if self._counted_on():
            return False
        self.used()
        asked = self._last_use
        busy = await asyncio.to_thread(self.house.read, lambda session: any(ask(session) for ask in AWAKE))
        # Somebody may have come while the store was asked.
        return not busy and self._last_use == asked and not self._counted_on()

    def _counted_on(self) -> bool:
        """Tell whether somebody listens, or was given the address."""
        return bool(self.house.feed.readers or self.house.loopback.asked)

    def _catch_up(self) -> None:
        """Take in what was written while there was no agent, for a while: who starts one asks for that first."""
        until = time.monotonic() + _CATCH_UP_S
        try:
            while self.ingestor.turn() and time.monotonic() < until:
                continue
        except Exception:
            log.exception("ingestion failed; it will be tried again")

    def _ingest_loop(self) -> None:
        pause = 0.02
        while not self.house.leaving.is_set():
            began = time.monotonic()
            try:
                taken = self.ingestor.turn()
            except Exception:
                log.exception("ingestion failed; it will be tried again")
                taken = 0
            files, behind = self.ingestor.behind
            self.house.facts.update(spool_files=files, spool_bytes_behind=behind, rows_ingested=self.ingestor.rows)
            if taken > _MUCH:
                pause = 0.02
            elif taken:
                pause = min(max(0.02, _GATHER * (time.monotonic() - began)), 0.25)
            else:
                pause = min(pause * 1.5, 0.25)
            if self._hurry.wait(pause):
                self._hurry.clear()
                pause = 0.02


def _lock(home: Home) -> int:
    """Lock first, then bind: two agents must never fight over one socket."""
    private_dir(home.runtime.parent)
    private_dir(home.runtime)
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreLocked(
            "another agent of this home is running", f"it holds {home.lock}", "mlops agent status"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _bind(home: Home) -> socket.socket:
    """Bind the socket; a stale one of a killed agent is ours to replace, since we hold the lock."""
    home.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        listener.bind(str(home.socket))
    finally:
        os.umask(old_mask)
    listener.listen(128)
    listener.setblocking(False)
    return listener
