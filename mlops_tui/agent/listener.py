"""The loopback listener, for clients that cannot use the Unix socket; off until somebody asks for it.

A port on loopback is open to every user of the machine and, through a browser, to every page that is open in it. So a
connection is this user's own by the kernel's word or it shows the token, and no request from a page of another site is
answered: neither one whose name was bound to this address later (its Host is foreign) nor one that its browser sends
along (its Origin is).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import logging
import os
import secrets
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import uvicorn

from mlops_tui.agent.peers import CONNECTION, LoopbackProtocol
from mlops_tui.contracts import agent as contract
from mlops_tui.core.errors import Conflict, MlopsError, NotAllowed
from mlops_tui.door import Context, act, implements

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mlops_tui.door.house import House

log = logging.getLogger(__name__)
NAMES = ("127.0.0.1", "localhost", "::1")
START_S = 5.0


class Gate:
    """Stands before the application: lets in who speaks to this machine by its own name and may."""

    def __init__(self, application: ASGIApp, *, port: int | None = None, token: str | None = None) -> None:
        """Guard an application.

        Args:
            application: what is behind the gate.
            port: the port that a Host must name; None on the Unix socket.
            token: what a caller without an identity must show; None where every caller has one.
        """
        self._application, self._port, self._token = application, port, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 401 or 403."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        if foreign := self._foreign(headers):
            await _refuse(send, 403, foreign)
            return
        if self._token is not None and not str(scope["client"][0]).startswith("uid:"):
            if not _shows(headers.get("authorization", ""), self._token):
                await _refuse(send, 401, _NO_TOKEN)
                return
            scope["client"] = (f"uid:{os.getuid()}", scope["client"][1])
        await self._application(scope, receive, send)

    def _foreign(self, headers: dict[str, str]) -> NotAllowed | None:
        host, origin = headers.get("host"), headers.get("origin")
        if host is not None and not self._ours(host):
            return NotAllowed(
                f"the agent does not answer to the name {host!r}",
                "a page could have bound that name to this address",
                "use http://127.0.0.1 and the port of mlops agent url",
            )
        if (origin is not None and not self._ours(urlsplit(origin).netloc)) or headers.get("sec-fetch-site") in (
            "cross-site",
            "same-site",
        ):
            return NotAllowed(
                "the agent does not answer to pages of other sites", f"the request came from {origin or 'one'}"
            )
        return None

    def _ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname, parts.port
        except ValueError:
            return False
        return name in NAMES and (self._port is None or (port or 80) == self._port)


_NO_TOKEN = NotAllowed(
    "this connection belongs to nobody that the agent knows",
    "it is another user's, or the system does not say whose",
    "show the token of mlops agent url, as bearer or as password",
)


def _shows(authorization: str, token: str) -> bool:
    """Tell whether a header carries the token: as bearer, or as password or user of a URL."""
    scheme, _, given = authorization.partition(" ")
    found = [given.strip()] if scheme.lower() == "bearer" else []
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            user, _, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
            found = [password or user]
    return any(hmac.compare_digest(one.encode(), token.encode()) for one in found)


async def _refuse(send: Send, status: int, error: MlopsError) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="mlops", Bearer'))
    body = msgspec.json.encode({"error": error.record()})
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Loopback:
    """The listener of one agent: closed, or open on one port with one token."""

    def __init__(self, house: House, application: ASGIApp) -> None:
        self._house, self._application = house, application
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None
        self._done: asyncio.Task[None] | None = None
        self.url, self.token = "", ""
        self.asked = False
        """Whether somebody was told the address: the agent does not leave as idle then."""
        self._remembered = house.home.runtime / "listener"

    def runs_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop serves; the agent does, once it runs."""
        self._loop = loop

    def open(self, port: int, *, asked: bool = True) -> bool:
        """Open the listener and tell whether it was closed before; called from any thread but the loop's.

        The port is kept over agents' lives where it can be: clients have it in their environment.

        Args:
            port: 0 takes the one of the agent before, else a free one.
            asked: whether somebody is told the address, and counts on it while the agent has nothing to do.

        Raises:
            Conflict: it is open on another port, or the port is in use.
            NotAllowed: the port is one that only root may open.
            MlopsError: it does not come up.
        """
        with self._guard:
            self.asked = self.asked or asked
            if self.url:
                if port not in (0, urlsplit(self.url).port):
                    raise Conflict(
                        f"the listener is open at {self.url}", "an agent has one", "mlops agent stop closes it"
                    )
                return False
            listening = _listening(port) if port else _listening_again(self._before()[0])
            self.token = token_of(self._house.home.runtime / "token")
            assert self._loop is not None
            asyncio.run_coroutine_threadsafe(self._serve(listening), self._loop).result(START_S)
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self._remembered.write_text(f"{listening.getsockname()[1]} {int(self.asked)}\n")
            return True

    def reopen(self) -> None:
        """Open what the agent before had open, if it ended without being told to stop."""
        port, asked = self._before()
        if port:
            try:
                self.open(0, asked=asked)
            except MlopsError as error:
                log.warning("the listener of the agent before is not open again: %s", error)

    def forget(self) -> None:
        """Let the next agent begin without the listener."""
        self._remembered.unlink(missing_ok=True)

    def _before(self) -> tuple[int, bool]:
        """Return the port that the agent before had, 0 for none, and whether somebody was told."""
        try:
            port, _, asked = self._remembered.read_text().partition(" ")
            return int(port), asked.strip() == "1"
        except (OSError, ValueError):
            return 0, False

    async def _serve(self, listening: socket.socket) -> None:
        gate = Gate(self._application, port=listening.getsockname()[1], token=self.token)
        self._server = quiet_server(gate, LoopbackProtocol)
        self._done = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            if self._done.done():
                raise MlopsError("the listener did not come up", str(self._done.exception()), "mlops agent log")
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Close the listener if it is open; answers that are under way go out first."""
        if self._server is not None and self._done is not None:
            self._server.should_exit = True
            await self._done


class _Server(uvicorn.Server):
    """Listens on sockets of either family: uvloop, unlike asyncio, has a call for each."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        loop, config = asyncio.get_running_loop(), self.config

        def protocol() -> asyncio.Protocol:
            made: Any = config.http_protocol_class
            return made(config=config, server_state=self.server_state, app_state={CONNECTION: {}}, _loop=loop)  # type: ignore[no-any-return]

        for one in sockets or []:
            create: Any = loop.create_unix_server if one.family == socket.AF_UNIX else loop.create_server
            self.servers = [*getattr(self, "servers", []), await create(protocol, sock=one, backlog=config.backlog)]
        self.started = True


def quiet_server(application: Any, protocol: type[asyncio.Protocol]) -> uvicorn.Server:
    """Return a server that leaves logging and signals to the agent."""
    made = _Server(
        uvicorn.Config(
            application,
            http=protocol,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
    )
    # The agent handles signals itself: uvicorn would raise them again after its shutdown.
    made.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    return made


def _listening(port: int) -> socket.socket:
    # The loop turns Nagle's algorithm off only where the protocol is named; with it, answers wait 40 ms.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
    except OSError as error:
        made.close()
        kind = NotAllowed if isinstance(error, PermissionError) else Conflict
        raise kind(
            f"cannot listen on port {port}", str(error.strerror), "choose another port, or 0 for a free one"
        ) from error
    made.listen(128)
    made.setblocking(False)
    return made


def _listening_again(port: int) -> socket.socket:
    """Listen on a port that was ours before, or on a free one when another program has it now."""
    try:
        return _listening(port)
    except MlopsError:
        return _listening(0)


def token_of(path: Path) -> str:
    """Return the token that lies in a private file, making it at the first time: clients keep it over agents' lives.

    Raises:
        NotAllowed: others may read the file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        scratch = path.with_suffix(f".{os.getpid()}")
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
        scratch.rename(path)
        return token_of(path)
    with open(descriptor) as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise NotAllowed(f"{path} can be read by others", "it holds the token of the listener", f"remove {path}")
        return file.read().strip()


@implements(contract.listen)
def listen(ctx: Context, request: contract.Listen) -> contract.Listener:
    """Open the loopback listener, or say where it is."""
    loopback: Loopback = ctx.house.loopback
    if loopback.open(request.port):
        act(ctx.house, ctx.caller, lambda ctx: _write_down(ctx, loopback.url))
    return contract.Listener(url=loopback.url, token=loopback.token)


def _write_down(ctx: Context, url: str) -> None:
    ctx.house.guard.note(ctx, contract.listen.name, "agent", "done", f"open the listener at {url}")
