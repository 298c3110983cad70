"""Who is at the other end of a connection: asked of the kernel, not of the caller."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_PEERCRED = getattr(socket, "SO_PEERCRED", None)


def unix_peer_uid(connection: socket.socket) -> int | None:
    """Return the uid of a Unix socket's peer, or None where the system does not say."""
    if _PEERCRED is not None:
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, _PEERCRED, 12))
        return int(uid)
    if hasattr(socket, "LOCAL_PEERCRED"):  # macOS: struct xucred, the uid follows a version word
        return int(struct.unpack_from("=II", connection.getsockopt(0, socket.LOCAL_PEERCRED, 76))[1])
    return None


class OwnUserProtocol(HttpToolsProtocol):
    """HTTP over the Unix socket for this user (and root) only; the uid becomes the caller's identity."""

    def connection_made(self, transport: Any) -> None:
        """Refuse a foreign peer before a byte is read."""
        super().connection_made(transport)
        uid = unix_peer_uid(transport.get_extra_info("socket"))
        if uid not in (os.getuid(), 0):
            transport.close()
            return
        self.client = (f"uid:{uid}", 0)
