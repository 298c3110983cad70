"""Where a worker's connections come from: its socket, gRPC's beside it, and what somebody else accepted."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.tls import HANDSHAKE_S, Context
from mlops_tui.serving.transport.connection import Connection
from mlops_tui.serving.transport.front import Front
from mlops_tui.serving.transport.sockets import BACKLOG, accept_all

if TYPE_CHECKING:
    from mlops_tui.serving.transport.grpc_server import GrpcServer

_log = logging.getLogger("mlops.serving")


class Listening:
    """Brings connections to the front.

    Args:
        front: what they share.
        deployment: its fixed facts.
        listener: the listening socket.
        tls: what secures them, or None.

    Attributes:
        arriving: connections that are not at the front yet.
    """

    def __init__(self, front: Front, deployment: Deployment, listener: socket.socket, tls: Context | None) -> None:
        self._front, self._deployment, self._listener = front, deployment, listener
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._grpc: GrpcServer | None = None
        self.arriving: set[asyncio.Task[Any]] = set()

    async def begin(self) -> None:
        """Begin to accept; what has queued on the socket since the supervisor opened it is answered now."""
        if self._server is None:
            await self._begin_grpc()
            self._server = await self._accepting()

    async def renew(self) -> None:
        """Go on accepting with TLS files that were renewed; the socket stays open, so nobody is turned away."""
        if self._server is not None:
            former, self._server = self._server, await self._accepting()
            former.close()

    async def _accepting(self) -> asyncio.Server:
        sock = socket.socket(fileno=os.dup(self._listener.fileno()))
        return await asyncio.get_running_loop().create_server(
            lambda: Connection(self._front), sock=sock, backlog=BACKLOG, **self._secured
        )

    @property
    def _secured(self) -> dict[str, Any]:
        return {} if self._tls is None else {"ssl": self._tls.ssl, "ssl_handshake_timeout": HANDSHAKE_S}

    async def _begin_grpc(self) -> None:
        if not self._deployment.grpc_port:
            return
        try:
            from mlops_tui.serving.transport.grpc_server import GrpcServer

            self._grpc = GrpcServer(self._front, self._deployment)
            await self._grpc.start()
        except (ImportError, RuntimeError) as error:
            # REST goes on: whoever asks for gRPC finds nobody there, and the reason in this log.
            _log.error("gRPC is not served on port %d: %s", self._deployment.grpc_port, error)

    def take_in(self, accepted: Iterable[socket.socket]) -> None:
        """Serve connections that somebody else accepted."""
        loop = asyncio.get_running_loop()
        for sock in accepted:
            task = loop.create_task(
                loop.connect_accepted_socket(lambda: Connection(self._front), sock, **self._secured)
            )
            self.arriving.add(task)
            task.add_done_callback(self.arriving.discard)

    async def end(self) -> None:
        """Accept no more; who has connected is still taken in."""
        if self._server is not None:
            self._server.close()
            # Closing the socket would reset those who have connected but were not yet accepted.
            self.take_in(accept_all(self._listener))
        self._listener.close()
        if self._grpc is not None:
            await self._grpc.stop(self._deployment.grace_s)
