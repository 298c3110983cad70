"""Listening sockets of a deployment: its workers share a port with nobody else; what waits on one can be taken over."""

from __future__ import annotations

import errno
import socket

from mlops_tui.core.errors import Conflict, MlopsError

BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket that shares its port with the other seats'.

    Raises:
        Conflict: the port is another program's.
        MlopsError: the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        return sock
    except OSError as error:
        raise _told(host, port, error) from error


def accept_all(listener: socket.socket) -> list[socket.socket]:
    """Return every connection that waits in the queue of a listening socket."""
    waiting: list[socket.socket] = []
    listener.setblocking(False)
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return waiting
        sock.setblocking(False)
        waiting.append(sock)


def refuse_foreign(host: str, port: int) -> None:
    """Refuse a port on which somebody listens already; sharing would let two deployments take turns.

    Raises:
        Conflict: the port is in use.
        MlopsError: the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _told(host, port, error) from error


def _told(host: str, port: int, error: OSError) -> MlopsError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"port {port} on {host} is in use", "another program listens there", "choose another port, or 0"
        )
    return MlopsError(f"cannot listen on {host}:{port}", str(error.strerror or error), "choose another host or port")
