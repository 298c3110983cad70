"""The line between a supervisor and its workers: JSON messages with open files, over a Unix socket in the folder."""

from __future__ import annotations

import json
import select
import socket
import struct
from array import array
from collections.abc import Sequence
from typing import Any

_LENGTH = struct.Struct("<I")
_MAX_FILES = 64
_MAX_MESSAGE = 1 << 24
_SEND_S = 5.0
Message = dict[str, Any]


class Channel:
    """One end of the line. Files travel with the first byte of their message and belong to the receiver."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._bytes = bytearray()
        self._files: list[int] = []
        sock.setblocking(False)

    def send(self, message: Message, files: Sequence[int] = ()) -> None:
        """Send a message and duplicates of open files, waiting for room if there is none.

        Raises:
            OSError: the other end is gone or does not read.
        """
        text = json.dumps({**message, "files": len(files)}).encode()
        data = memoryview(_LENGTH.pack(len(text)) + text)
        attached = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", files))] if files else []
        while data:
            try:
                data, attached = data[self.sock.sendmsg([data], attached) :], []
            except BlockingIOError:
                self._wait_for_room()

    def _wait_for_room(self) -> None:
        waiter = select.poll()
        waiter.register(self.sock, select.POLLOUT)
        if not waiter.poll(_SEND_S * 1000):
            raise TimeoutError("the other end does not read")

    def receive(self) -> list[tuple[Message, list[int]]]:
        """Return the whole messages that have arrived, without waiting.

        Raises:
            EOFError: the other end is gone.
        """
        try:
            # Not socket.recv_fds: that of Python 3.11 takes no notice of flags.
            room = socket.CMSG_SPACE(_MAX_FILES * array("i").itemsize)
            data, attached, _, _ = self.sock.recvmsg(1 << 16, room)
        except BlockingIOError:
            return []
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self._bytes += data
        for level, kind, content in attached:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._files += array("i", content)
        return self._whole()

    def _whole(self) -> list[tuple[Message, list[int]]]:
        found = []
        while len(self._bytes) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._bytes)[0]
            if end > _MAX_MESSAGE:
                raise EOFError
            if len(self._bytes) < end:
                break
            message = json.loads(self._bytes[_LENGTH.size : end])
            del self._bytes[:end]
            count = message.pop("files")
            found.append((message, self._files[:count]))
            del self._files[:count]
        return found

    def close(self) -> None:
        """Hang up."""
        self.sock.close()
