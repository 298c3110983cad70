"""Who is at the other end of a connection: asked of the kernel, not of the caller."""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_PEERCRED = getattr(socket, "SO_PEERCRED", None)
_ESTABLISHED = "01"
TUNNELS = frozenset({"sshd", "ssh", "socat", "docker-proxy", "rootlessport"})
"""Programs whose connections are somebody else's, by the name that the system shows."""
Address = tuple[str, int]
CONNECTION = "connection"
"""In the state of a scope: a dictionary that all requests of one connection share."""


def unix_peer(connection: socket.socket) -> tuple[int, int | None]:
    """Return pid and uid of a Unix socket's peer: 0 and None where the system does not say."""
    if _PEERCRED is not None:
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, _PEERCRED, 12))
        return int(pid), int(uid)
    if hasattr(socket, "LOCAL_PEERCRED"):  # macOS: struct xucred, the uid follows a version word
        return 0, int(struct.unpack_from("=II", connection.getsockopt(0, socket.LOCAL_PEERCRED, 76))[1])
    return 0, None


def tcp_peer_uid(client: Address, server: Address, tables: Path = Path("/proc/net")) -> int | None:
    """Return the uid that owns the client's end of a loopback connection, or None when it cannot be told.

    Args:
        client: IPv4 address and port of the client's end, which is the local end in its own line of the table.
        server: of our end.
        tables: the folder of ``tcp`` and ``tcp6``; another one only in tests.
    """
    fields = _line_of(client, server, tables)
    # A socket that its owner has closed already is shown as root's: only a living one tells.
    living = fields is not None and fields[3] == _ESTABLISHED and fields[9] != "0"
    return int(fields[7]) if fields is not None and living else None


def tcp_peer_pid(client: Address, server: Address) -> int:
    """Return a process of this user that has the client's end of a loopback connection open; 0 when none is found.

    A tunnel (ssh) stands for somebody on another machine: it counts as none.
    """
    fields = _line_of(client, server, Path("/proc/net"))
    if fields is None or fields[9] == "0":
        return 0
    wanted = f"socket:[{fields[9]}]"
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _has_open(process, wanted):
            return here(int(process.name))
    return 0


def here(pid: int) -> int:
    """Return a process that asks, or 0 when it is a tunnel that speaks for somebody elsewhere, or is gone."""
    try:
        return 0 if Path(f"/proc/{pid}/comm").read_text().strip() in TUNNELS else pid
    except OSError:
        return 0


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process of this user was started with; empty when it cannot be read."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (word.decode(errors="replace").partition("=") for word in words if b"=" in word)
    return {name: value for name, _, value in pairs}


def folder_of(pid: int) -> str:
    """Return the folder in which a process of this user works; empty when it cannot be told."""
    try:
        return os.readlink(f"/proc/{pid}/cwd") if pid else ""
    except OSError:
        return ""


def _has_open(process: Path, wanted: str) -> bool:
    try:
        return any(os.readlink(entry.path) == wanted for entry in os.scandir(process / "fd"))
    except OSError:  # gone, or another user's
        return False


def _line_of(client: Address, server: Address, tables: Path) -> list[str] | None:
    plain = f"{_hex(client[0])}:{client[1]:04X}", f"{_hex(server[0])}:{server[1]:04X}"
    # An IPv6 socket that speaks IPv4 stands in the other table, its address behind this prefix.
    prefix = 16 * "0" + ("FFFF0000" if sys.byteorder == "little" else "0000FFFF")
    for name, ends in (("tcp", plain), ("tcp6", (prefix + plain[0], prefix + plain[1]))):
        try:
            lines = (tables / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if (fields[1], fields[2]) == ends:
                return fields
    return None


def _hex(address: str) -> str:
    """Return an IPv4 address as the kernel prints it: its four bytes as one number of this machine."""
    return f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}"


class OwnUserProtocol(HttpToolsProtocol):
    """HTTP over the Unix socket for this user (and root) only; the uid becomes the caller's identity."""

    def connection_made(self, transport: Any) -> None:
        """Refuse a foreign peer before a byte is read."""
        super().connection_made(transport)
        pid, uid = unix_peer(transport.get_extra_info("socket"))
        if uid not in (os.getuid(), 0):
            transport.close()
            return
        self.app_state[CONNECTION]["peer"] = pid
        self.client = (f"uid:{uid}", 0)


class LoopbackProtocol(HttpToolsProtocol):
    """HTTP over loopback TCP: this user's own connections carry their uid, all others need the token."""

    def connection_made(self, transport: Any) -> None:
        """Ask the kernel whose connection this is."""
        super().connection_made(transport)
        client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        uid = tcp_peer_uid(client[:2], server[:2]) if client and server else None
        self.client = (f"uid:{uid}" if uid == os.getuid() else "tcp", client[1] if client else 0)
