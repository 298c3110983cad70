"""The line between a supervisor and its workers: JSON messages with open files, over a Unix socket in the folder."""

from __future__ import annotations

import json
import socket
import struct
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
        sock.settimeout(_SEND_S)

    def send(self, message: Message, files: Sequence[int] = ()) -> None:
        """Send a message and duplicates of open files.

        Raises:
            OSError: the other end is gone or does not read.
        """
        text = json.dumps({**message, "files": len(files)}).encode()
        data = _LENGTH.pack(len(text)) + text
        sent = socket.send_fds(self.sock, [data], list(files)) if files else self.sock.send(data)
        self.sock.sendall(data[sent:])

    def receive(self) -> list[tuple[Message, list[int]]]:
        """Return the whole messages that have arrived, without waiting.

        Raises:
            EOFError: the other end is gone.
        """
        try:
            data, files, _, _ = socket.recv_fds(self.sock, 1 << 16, _MAX_FILES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self._bytes += data
        self._files += files
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
