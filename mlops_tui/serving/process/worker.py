"""One worker of a deployment: ``python -m mlops_tui.serving.process.worker``, started by the supervisor.

It answers on the listening socket that it was given, by the routes that the supervisor sends with the models' memory
files. When the supervisor dies it goes on with what it has, reverts a lease that runs out, and offers socket, models
and routes to the next supervisor of the folder. It leaves when it is told to, or when the folder is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui import __version__
from mlops_tui.core.errors import MlopsError
from mlops_tui.serving.control import Message
from mlops_tui.serving.deployment import (
    COUNTERS,
    DEPLOYMENT,
    OWN_CERTIFICATE,
    TOGGLES,
    TOKENS,
    Deployment,
    Routes,
    read_deployment,
)
from mlops_tui.serving.models.holding import Holding
from mlops_tui.serving.models.pool import Pool
from mlops_tui.serving.process.line import Line
from mlops_tui.serving.protocol.app import App
from mlops_tui.serving.protocol.tokens import Tokens
from mlops_tui.serving.record.columns import Column
from mlops_tui.serving.record.counters import Counters, Gauge
from mlops_tui.serving.record.inference_log import InferenceLog, Keeping
from mlops_tui.serving.tls import Context
from mlops_tui.serving.traffic.plan import Plan
from mlops_tui.serving.traffic.routing import Router
from mlops_tui.serving.traffic.sticky import salt_of
from mlops_tui.serving.traffic.toggling import switches
from mlops_tui.serving.transport.front import SWEEP_S, Front
from mlops_tui.serving.transport.listening import Listening
from mlops_tui.spool.process import this_process
from mlops_tui.toggles.watching import Watched

_log = logging.getLogger("mlops.serving")


class Worker:
    """The state of a worker process.

    Args:
        folder: the deployment's.
        deployment: its fixed facts.
        slot: the worker's number.
        listener: the listening socket.
        spool_bytes: how much the inference log may keep on disk.
    """

    def __init__(
        self, folder: Path, deployment: Deployment, slot: int, listener: socket.socket, spool_bytes: int
    ) -> None:
        self._folder, self._deployment, self._number, self._listener = folder, deployment, slot, listener
        self._counters = Counters(folder / COUNTERS, deployment.workers)
        self._slot = self._counters.slot(slot)
        self._log: InferenceLog | None = None
        if deployment.log_predictions:
            keeping = Keeping(deployment.log_sample, frozenset(deployment.redact))
            self._log = InferenceLog(Path(deployment.spool), deployment.deployment, spool_bytes, self._slot, keeping)
        self._tokens = Tokens(folder / TOKENS, deployment.token, deployment.ask_token)
        self._tls = Context(deployment.tls, folder / OWN_CERTIFICATE) if deployment.tls is not None else None
        self._app = App(deployment, self._counters, self._slot, self._log, self._tokens)
        self._line = Line(self)
        self._told: dict[str, dict[str, Any]] = {}
        self._held = Holding(deployment, slot)
        self._columns: Sequence[Column] = ()
        self._plan: Plan | None = None
        self._toggles = Watched(folder / TOGGLES)

    async def run(self) -> None:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._app.repository.ask = self._line.say
        facts = self._deployment
        self._front = Front(self._app, facts, self._slot, loop)
        self._listening = Listening(self._front, facts, self._listener, self._tls)
        self._app.predictor.pool = Pool(loop, facts.slow_threads, facts.slow_queue, self._front.late)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        self._slot[Gauge.PID], self._slot[Gauge.READY], self._slot[Gauge.CONNECTIONS] = os.getpid(), 0, 0
        self._connect()
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tick())]
        await self._stop.wait()
        await self._drain()
        for task in tasks:
            task.cancel()
        if self._log is not None:
            self._log.close()
        if self._app.tracer is not None:
            await asyncio.to_thread(self._app.tracer.close)
        if facts.alone and not self._line.up:
            shutil.rmtree(self._folder, ignore_errors=True)  # whoever would have is dead

    async def _tick(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:
                _log.exception("housekeeping")
            await asyncio.sleep(SWEEP_S)

    def _turn(self) -> None:
        self._slot[Gauge.HEARTBEAT_NS] = time.monotonic_ns()
        self._front.sweep()
        if self._log is not None:
            self._log.tick()
        if self._plan is not None and self._plan.overdue:
            self._revert(self._plan)
        self._follow_toggles()
        self._tell_conditions()
        if self._tokens.look():
            self._front.forget_heads()
        if self._tls is not None and self._tls.look():
            self._renewing = asyncio.create_task(self._listening.renew())
        if not self._line.up:
            self._connect()

    # The supervisor.

    def _connect(self) -> None:
        if (self._folder / DEPLOYMENT).exists():
            self._line.connect()
        elif not self._stop.is_set():
            _log.warning("the folder %s is gone; leaving", self._folder)
            self._stop.set()

    def hello(self) -> tuple[Message, list[int]]:
        """Return who this is and what it serves, with its socket and its models' memory files."""
        plan, files = self._plan, self._held.files
        message = {
            "op": "hello",
            "slot": self._number,
            "process": this_process(),
            "version": __version__,
            "facts": self._deployment.digest(),
            "models": list(files),
            "routes": msgspec.to_builtins(plan.routes) if plan else None,
            "reverted": plan.reverted if plan else False,
        }
        return message, [self._listener.fileno(), *files.values()]

    def ordered(self, models: dict[str, int], engines: dict[str, Any]) -> None:
        """Keep the files of an order, and what is said of engines."""
        self._held.engines = engines
        for key, fd in models.items():
            self._held.keep(key, fd)

    def told(self, message: Message, files: list[int]) -> None:
        """Leave, take connections in, note how engines fare, or answer who asked for a model to be loaded."""
        if message["op"] == "drain":
            self._stop.set()
        elif message["op"] == "accept":
            self._listening.take_in(socket.socket(fileno=fd) for fd in files)
        elif message["op"] == "engines":
            self._held.engines = message["engines"]
        elif message["op"] == "repository":
            self._app.repository.told(message)
            self._front.late()

    def lost(self) -> None:
        """Go on without a supervisor, unless nobody would start another."""
        self._told = {}
        self._app.repository.lost()
        self._front.late()
        if self._deployment.alone:
            self._stop.set()

    def _report(self) -> None:
        if self._plan is not None:
            epoch, generation = self._plan.routes.at
            self._slot[Gauge.EPOCH], self._slot[Gauge.GENERATION] = epoch, generation
            self._slot[Gauge.REVERTED] = int(self._plan.reverted)
            self._line.say({"op": "serving", "at": [epoch, generation], "reverted": self._plan.reverted})
            self._told = {}
            self._tell_conditions()

    def _tell_conditions(self) -> None:
        """Say how the engines fare, when that is news."""
        conditions = self._held.conditions()
        if conditions != self._told and self._line.up:
            self._told = conditions
            self._line.say({"op": "condition", "models": conditions})

    # Routes.

    async def _follow(self) -> None:
        """Carry out what the supervisor orders, one order after the other."""
        while True:
            order = await self._line.order()
            if order["routes"] is not None:
                await self._obey(order)
            if not self._stop.is_set():
                await self._listening.begin()
            self._slot[Gauge.READY] = int(self._plan is not None and not self._stop.is_set())
            self._report()

    async def _obey(self, order: Message) -> None:
        routes = msgspec.convert(order["routes"], Routes)
        plan, facts = self._plan, self._deployment
        try:
            if plan is not None and plan.reverted and plan.routes.at == routes.at:
                if plan.routes.lease_until != routes.lease_until:
                    raise MlopsError("the lease ran out and was reverted")
                return
            await self._held.load(routes.models, self._front.late)
            self._columns = [tuple(column) for column in order["columns"]]
            salt = salt_of(self._folder) if routes.sticky and self._log is not None else b""
            made = Plan(routes, self._held, self._columns, facts.name, self._log, self._slot, salt)
            if plan is not None and order.get("together") and not await self._line.agreed(routes.at, facts.load_s):
                self._forget()
                return
        except Exception as error:
            self._refuse(routes, error)
            return
        self._plan, self._held.in_use = made, routes.models.keys()
        for key, model in self._held.models.items():
            model.lookup = made.lookups.get(key)
        self._app.predictor.others, self._app.repository.shelf = made.others, routes.shelf
        self._route(made.main, routes.away)
        if order.get("reverted") or made.overdue:
            self._revert(made)
        self._forget()
        # What is loaded now stays: the collector need not walk over it again and again.
        gc.freeze()

    def _refuse(self, routes: Routes, error: Exception) -> None:
        """Go on with what is served, and say why."""
        _log.error("routes %s refused: %s", routes.at, error)
        self._line.say({"op": "refused", "at": list(routes.at), "why": str(error)})
        self._forget()

    def _forget(self) -> None:
        if not self._line.pressing:  # else files of the next route set may be here already
            self._held.forget()

    def _route(self, router: Router, away: bool = False) -> None:
        """Let a router answer from the next request on, with the toggles as they are; or keep it only."""
        self._toggles.look()
        self._app.route(router, self._columns, away)
        self._app.predictor.switches = switches(self._deployment.name, self._toggles.definition, router)

    def _revert(self, plan: Plan) -> None:
        """Give the traffic back, because nobody renewed the lease."""
        assert plan.revert is not None
        plan.reverted = True
        self._route(plan.revert)
        _log.warning("the lease of routes %s ran out: reverted", plan.routes.at)
        self._report()

    def _follow_toggles(self) -> None:
        """Take in a toggle file that has changed: nobody has to be there to tell."""
        router = self._app.predictor.router
        if router is not None and self._toggles.look():
            self._app.predictor.switches = switches(self._deployment.name, self._toggles.definition, router)
            _log.info("toggles: %s", ", ".join(self._toggles.definition.toggles) or "none")

    # The end.

    async def _drain(self) -> None:
        """Accept no more, answer what is on its way, and leave after the grace at the latest."""
        self._slot[Gauge.READY] = 0
        self._front.drain()
        await self._listening.end()
        deadline = time.monotonic() + self._deployment.grace_s
        while (self._front.connections or self._listening.arriving) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self._held.close()

    @property
    def stuck(self) -> bool:
        """Tell whether a model still runs after all that was waited for."""
        pool = self._app.predictor.pool
        return pool is not None and not pool.idle


def main(argv: list[str] | None = None) -> int:
    """Run a worker; the arguments are the supervisor's business."""
    parser = argparse.ArgumentParser(prog="mlops_tui.serving.process.worker")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--spool-bytes", type=int, required=True)
    args = parser.parse_args(argv)
    logging.basicConfig(format=f"%(asctime)s worker {args.slot} %(levelname)s %(message)s", level=logging.INFO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _more_files()
    # A Unix socket's path has room for 108 bytes; a deployment's folder may be deeper.
    os.chdir(args.dir)
    try:
        deployment = read_deployment(args.dir)
        worker = Worker(args.dir, deployment, args.slot, socket.socket(fileno=args.listener), args.spool_bytes)
    except MlopsError as error:
        _log.error("%s", error)
        return int(error.exit_code)
    _quiet_numpy()
    import uvloop

    uvloop.run(worker.run())
    if worker.stuck:
        os._exit(0)  # else the interpreter would take the runtime down under the thread that is in it
    return 0


def _more_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _quiet_numpy() -> None:
    """A client's 1e300 as FP32 is infinity, not a line in the log a request."""
    import numpy as np

    settings: dict[str, Any] = {"over": "ignore", "invalid": "ignore"}
    np.seterr(**settings)


if __name__ == "__main__":
    sys.exit(main())
