"""One worker of a deployment: ``python -m mlops_tui.serving.worker``, started by the supervisor.

It answers on the listening socket that it was given, by the routes that the supervisor sends with the models' memory
files. When the supervisor dies it goes on with what it has, reverts a lease that runs out, and offers socket, models
and routes to the next supervisor of the folder. It leaves when it is told to, or when the folder is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_tui import __version__
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.core.paths import home
from mlops_tui.data.online.table import OnlineTable
from mlops_tui.serving.app import App, Column
from mlops_tui.serving.connection import Connection
from mlops_tui.serving.control import Channel, Message
from mlops_tui.serving.counters import Counters, Gauge
from mlops_tui.serving.deployment import (
    CONTROL,
    COUNTERS,
    DEPLOYMENT,
    FEATURES,
    TOGGLES,
    TOKENS,
    Deployment,
    Revision,
    Routes,
    read_deployment,
)
from mlops_tui.serving.deployment import Model as ModelPlace
from mlops_tui.serving.front import SWEEP_S, Front
from mlops_tui.serving.inference_log import InferenceLog, Keeping
from mlops_tui.serving.lookup import Lookup
from mlops_tui.serving.model import Model
from mlops_tui.serving.pool import Pool
from mlops_tui.serving.routing import Arm, Router
from mlops_tui.serving.seats import BACKLOG, accept_all
from mlops_tui.serving.session import Wish
from mlops_tui.serving.tls import HANDSHAKE_S, Context
from mlops_tui.serving.toggling import switches
from mlops_tui.serving.tokens import Tokens
from mlops_tui.serving.unseal import place_of
from mlops_tui.spool.process import this_process
from mlops_tui.toggles.watching import Watched

if TYPE_CHECKING:
    from mlops_tui.serving.grpc_server import GrpcServer

_RECONNECT_S = 0.2
_log = logging.getLogger("mlops.serving")


class _Plan:
    """A route set with its models loaded: who answers now, and who when the lease runs out."""

    def __init__(self, routes: Routes, main: Router, revert: Router | None) -> None:
        self.routes, self.main, self.revert = routes, main, revert
        self.reverted = False
        # From here on the lease runs by a clock that nobody sets: one that is set back must not prolong it.
        self._ends = time.monotonic() + routes.left_s(now_us())

    @property
    def overdue(self) -> bool:
        """Tell whether the lease has run out and was not reverted yet."""
        return self.revert is not None and not self.reverted and time.monotonic() >= self._ends


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
        self._tokens = Tokens(folder / TOKENS, deployment.token)
        self._tls = Context(deployment.tls) if deployment.tls is not None else None
        self._app = App(deployment, self._counters, self._slot, self._log, self._tokens)
        self._channel: Channel | None = None
        self._retry_at = 0.0
        self._files: dict[str, int] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._models: dict[str, Model] = {}
        self._wish = Wish(
            deployment.threads, deployment.provider, deployment.provider_policy, deployment.gpu_memory_mb << 20,
            home().cache / "engines",
        )  # fmt: skip
        self._columns: dict[str, int] = {}
        self._known: list[Column] = []
        self._plan: _Plan | None = None
        self._toggles = Watched(folder / TOGGLES)
        self._loader = self._new_loader()
        self._orders: asyncio.Queue[Message] = asyncio.Queue()
        self._words: asyncio.Queue[Message] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._grpc: GrpcServer | None = None
        self._arriving: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._app.repository.ask = self._say
        self._front = Front(self._app, self._deployment, self._slot, loop)
        facts = self._deployment
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
        if self._deployment.alone and self._channel is None:
            shutil.rmtree(self._folder, ignore_errors=True)  # whoever would have is dead

    async def _listen(self) -> None:
        """Begin to accept; what has queued on the socket since the supervisor opened it is answered now."""
        if self._server is None and not self._stop.is_set():
            await self._listen_grpc()
            loop = asyncio.get_running_loop()
            sock = socket.socket(fileno=os.dup(self._listener.fileno()))
            self._server = await loop.create_server(
                lambda: Connection(self._front), sock=sock, backlog=BACKLOG, **self._secured()
            )

    async def _listen_grpc(self) -> None:
        if not self._deployment.grpc_port:
            return
        try:
            from mlops_tui.serving.grpc_server import GrpcServer

            self._grpc = GrpcServer(self._front, self._deployment)
            await self._grpc.start()
        except (ImportError, RuntimeError) as error:
            # REST goes on: whoever asks for gRPC finds nobody there, and the reason in this log.
            _log.error("gRPC is not served on port %d: %s", self._deployment.grpc_port, error)

    def _secured(self) -> dict[str, Any]:
        return {} if self._tls is None else {"ssl": self._tls.ssl, "ssl_handshake_timeout": HANDSHAKE_S}

    def _take_in(self, accepted: Iterable[socket.socket]) -> None:
        """Serve connections that somebody else accepted."""
        loop = asyncio.get_running_loop()
        for sock in accepted:
            task = loop.create_task(
                loop.connect_accepted_socket(lambda: Connection(self._front), sock, **self._secured())
            )
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

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
        if self._tls is not None:
            self._tls.look()
        if self._channel is None:
            self._connect()

    # The line to the supervisor.

    def _connect(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + _RECONNECT_S
        if not (self._folder / DEPLOYMENT).exists():
            _log.warning("the folder %s is gone; leaving", self._folder)
            self._stop.set()
            return
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(CONTROL)
            channel = Channel(sock)
            channel.send(self._hello(), [self._listener.fileno(), *self._files.values()])
        except OSError:
            sock.close()
            return
        self._channel, self._told = channel, {}
        asyncio.get_running_loop().add_reader(sock.fileno(), self._hear)

    def _hello(self) -> Message:
        plan = self._plan
        return {
            "op": "hello",
            "slot": self._number,
            "process": this_process(),
            "version": __version__,
            "facts": self._deployment.digest(),
            "models": list(self._files),
            "routes": msgspec.to_builtins(plan.routes) if plan else None,
            "reverted": plan.reverted if plan else False,
        }

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            for message, files in self._channel.receive():
                for key, fd in zip(message.get("models", ()), files, strict=False):
                    self._keep_file(key, fd)
                if message["op"] == "drain":
                    self._stop.set()
                elif message["op"] == "accept":
                    self._take_in(socket.socket(fileno=fd) for fd in files)
                elif message["op"] == "repository":
                    self._app.repository.told(message)
                    self._front.late()
                elif message["op"] in ("switch", "drop"):
                    self._words.put_nowait(message)
                else:
                    self._orders.put_nowait(message)
                    self._words.put_nowait({"op": "newer", "at": None})
        except EOFError:
            asyncio.get_running_loop().remove_reader(self._channel.sock.fileno())
            self._channel.close()
            self._channel = None
            self._app.repository.lost()
            self._front.late()
            if self._deployment.alone:
                self._stop.set()

    def _keep_file(self, key: str, fd: int) -> None:
        """Keep the memory file of a model; of a plain file that was changed, the newer one unless it is in use."""
        old = self._files.get(key)
        in_use = self._plan is not None and key in self._plan.routes.models
        if old is not None and (in_use or os.path.sameopenfile(old, fd)):
            os.close(fd)
            return
        if old is not None:
            os.close(old)
            if (stale := self._models.pop(key, None)) is not None:
                self._loader.submit(stale.close)
        self._files[key] = fd

    def _say(self, message: Message) -> bool:
        """Tell the supervisor something; False when it does not hear."""
        if self._channel is None:
            return False
        try:
            self._channel.send(message)
        except OSError:
            _log.warning("the supervisor does not listen")
            return False
        return True

    def _report(self) -> None:
        if self._plan is not None:
            epoch, generation = self._plan.routes.at
            self._slot[Gauge.EPOCH], self._slot[Gauge.GENERATION] = epoch, generation
            self._slot[Gauge.REVERTED] = int(self._plan.reverted)
            self._say({"op": "serving", "at": [epoch, generation], "reverted": self._plan.reverted})
            self._told = {}
            self._tell_conditions()

    def _tell_conditions(self) -> None:
        """Say how the engines fare, when that is news."""
        conditions = {key: model.condition for key, model in self._models.items()}
        if conditions != self._told and self._channel is not None:
            self._told = conditions
            self._say({"op": "condition", "models": conditions})

    # Routes.

    async def _follow(self) -> None:
        """Carry out what the supervisor orders, one order after the other; of several the newest counts."""
        while True:
            order = await self._orders.get()
            while not self._orders.empty():
                order = self._orders.get_nowait()
            if order["routes"] is not None:
                await self._obey(order)
            await self._listen()
            self._slot[Gauge.READY] = int(self._plan is not None and not self._stop.is_set())
            self._report()

    async def _obey(self, order: Message) -> None:
        routes = msgspec.convert(order["routes"], Routes)
        plan = self._plan
        try:
            if plan is not None and plan.reverted and plan.routes.at == routes.at:
                if plan.routes.lease_until != routes.lease_until:
                    raise MlopsError("the lease ran out and was reverted")
                return
            await self._load(routes)
            lookups = self._lookups(routes)
            self._columns = {ident: column for column, ident, _ in order["columns"]}
            self._known = [tuple(known) for known in order["columns"]]
            revert = routes.lease_revert
            main = self._router(routes, routes.revisions, routes.fallback)
            made = _Plan(routes, main, self._router(routes, revert, None) if revert else None)
            others = {name: self._other(routes, name) for name in routes.others}
            if plan is not None and order.get("together") and not await self._agreed(routes):
                return
        except Exception as error:
            self._refuse(routes, error)
            return
        for key, model in self._models.items():
            model.lookup = lookups.get(key)
        self._plan = made
        self._app.predictor.others, self._app.repository.shelf = others, routes.shelf
        self._route(main)
        if order.get("reverted") or made.overdue:
            self._revert(made)
        self._forget(routes)
        # What is loaded now stays: the collector need not walk over it again and again.
        gc.freeze()

    def _refuse(self, routes: Routes, error: Exception) -> None:
        """Go on with what is served, and say why."""
        _log.error("routes %s refused: %s", routes.at, error)
        self._say({"op": "refused", "at": list(routes.at), "why": str(error)})
        self._forget(self._plan.routes if self._plan else None)

    def _route(self, router: Router) -> None:
        """Let a router answer from the next request on, with the toggles as they are."""
        self._toggles.look()
        self._app.route(router, self._known)
        self._app.predictor.switches = switches(self._deployment.name, self._toggles.definition, router)

    def _follow_toggles(self) -> None:
        """Take in a toggle file that has changed: nobody has to be there to tell."""
        router = self._app.predictor.router
        if router is not None and self._toggles.look():
            self._app.predictor.switches = switches(self._deployment.name, self._toggles.definition, router)
            _log.info("toggles: %s", ", ".join(self._toggles.definition.toggles) or "none")

    def _lookups(self, routes: Routes) -> dict[str, Lookup]:
        """Return how each model's features are looked up.

        Raises:
            BadInput: the online features are not those of a model.
        """
        if routes.features is None:
            return {}
        table = OnlineTable(self._files[routes.features.key])
        return {
            key: Lookup(table, routes.missing, model.inputs, model.features, model.feature_set, self._slot)
            for key, model in self._models.items()
            if key in routes.models
        }

    async def _agreed(self, routes: Routes) -> bool:
        """Wait until every worker has loaded the routes, so that all go over in one moment.

        Returns:
            False when others are coming, or another worker could not take these in: those before stay in force.

        Raises:
            MlopsError: the supervisor is gone.
        """
        while not self._words.empty():
            self._words.get_nowait()
        self._say({"op": "loaded", "at": list(routes.at)})
        while self._orders.empty():
            try:
                word = await asyncio.wait_for(self._words.get(), self._deployment.load_s)
            except TimeoutError:
                raise MlopsError("nobody said that every worker has loaded them") from None
            if word["op"] == "switch" and tuple(word["at"]) == routes.at:
                return True
            if word["op"] == "drop" and tuple(word["at"]) == routes.at:
                self._forget(self._plan.routes if self._plan else None)
                return False
        return False

    async def _load(self, routes: Routes) -> None:
        """Load and warm what is new, beside the traffic.

        Raises:
            BadInput: a model cannot be loaded, or not in time.
        """
        loop = asyncio.get_running_loop()
        for key, model in routes.models.items():
            if key not in self._models and model.engine != FEATURES:
                executor = self._loader if model.engine == "onnx" else None
                loading = loop.run_in_executor(executor, self._loaded, model)
                try:
                    self._models[key] = await asyncio.wait_for(loading, self._deployment.load_s)
                except TimeoutError:
                    self._loader = self._new_loader()  # the other thread may never come back
                    words = f"the model is not loaded after {self._deployment.load_s:g} s"
                    raise BadInput(words, key[:12], "is it too large?") from None
                if model.engine != "onnx":
                    self._models[key].lane = Pool(loop, 1, self._deployment.slow_queue, self._front.late)

    def _new_loader(self) -> ThreadPoolExecutor:
        """Return a thread that loads models; it gives way to requests unless the runtime's own threads would too."""
        return ThreadPoolExecutor(1, "mlops-load", _give_way if self._deployment.threads == 1 else None)

    def _loaded(self, model: ModelPlace) -> Model:
        """Load one model; runs on the loader's thread."""
        deployment, fd = self._deployment, self._files[model.key]
        if model.engine == "onnx":
            made = Model(place_of(fd), self._wish)
        else:
            from mlops_tui.serving.remote import Wishes
            from mlops_tui.serving.remote_model import RemoteModel

            wishes = Wishes(
                model.engine, bool(model.parts), model.signature, deployment.python, deployment.threads,
                deployment.memory_mb << 20, deployment.load_s, deployment.timeout_s,
            )  # fmt: skip
            made = RemoteModel(model.key[:12], wishes, fd)
        if made.warm_up_error:
            _log.warning("model %s refused a row of zeros: %s", model.key[:12], made.warm_up_error)
        return made

    def _router(self, routes: Routes, revisions: tuple[Revision, ...], fallback: str | None) -> Router:
        arms = [self._arm(revision, self._deployment.name) for revision in revisions]
        return Router(routes.at, arms, routes.sticky, fallback, routes.rescue)

    def _other(self, routes: Routes, name: str) -> Router:
        return Router(routes.at, [self._arm(revision, name) for revision in routes.others[name]], None, None)

    def _arm(self, revision: Revision, name: str) -> Arm:
        model = self._models[revision.model.key]
        stream = self._log.stream(model.features, model.outputs) if self._log is not None else None
        return Arm(name, revision, model, self._columns[revision.id], stream)

    def _revert(self, plan: _Plan) -> None:
        """Give the traffic back, because nobody renewed the lease."""
        assert plan.revert is not None
        plan.reverted = True
        self._route(plan.revert)
        _log.warning("the lease of routes %s ran out: reverted", plan.routes.at)
        self._report()

    def _forget(self, routes: Routes | None) -> None:
        if not self._orders.empty():
            return  # files of the next route set may be here already
        wanted = routes.models if routes else {}
        for key in self._files.keys() - wanted.keys():
            os.close(self._files.pop(key))
        for key in self._models.keys() - wanted.keys():
            self._loader.submit(self._models.pop(key).close)

    # The end.

    async def _drain(self) -> None:
        """Accept no more, answer what is on its way, and leave after the grace at the latest."""
        self._slot[Gauge.READY] = 0
        self._front.drain()
        if self._server is not None:
            self._server.close()
            # Closing the socket would reset those who have connected but were not yet accepted.
            self._take_in(accept_all(self._listener))
        self._listener.close()
        if self._grpc is not None:
            await self._grpc.stop(self._deployment.grace_s)
        deadline = time.monotonic() + self._deployment.grace_s
        while (self._front.connections or self._arriving) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for model in self._models.values():
            model.close()


def main(argv: list[str] | None = None) -> int:
    """Run a worker; the arguments are the supervisor's business."""
    parser = argparse.ArgumentParser(prog="mlops_tui.serving.worker")
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
    return 0


def _give_way() -> None:
    """Lower the priority of this thread: on Linux it belongs to a thread, and is inherited by those it starts."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


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
