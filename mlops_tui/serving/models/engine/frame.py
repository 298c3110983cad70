"""The head of what goes over a socket to a model's process and back: a JSON object with its length before it."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

Message = dict[str, Any]
LENGTH = struct.Struct("<I")
"""Lengths: four bytes, little-endian."""
_MAX_HEAD = 1 << 24


def receive_head(sock: socket.socket) -> Message:
    """Wait for the head of a message and return it.

    Raises:
        EOFError: the other end is gone, or says what is no message.
        TimeoutError: it says nothing for as long as the socket waits.
    """
    size = LENGTH.unpack(exactly(sock, LENGTH.size))[0]
    if size > _MAX_HEAD:
        raise EOFError
    message: Message = json.loads(exactly(sock, size))
    return message


def exactly(sock: socket.socket, size: int) -> bytearray:
    """Wait for so many bytes and return them.

    Raises:
        EOFError: the other end is gone.
        TimeoutError: it says nothing for as long as the socket waits.
    """
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        try:
            got = sock.recv_into(view[at:])
        except ConnectionError as error:
            raise EOFError from error
        if not got:
            raise EOFError
        at += got
    return data
