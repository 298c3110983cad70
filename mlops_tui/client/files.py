"""Files of any size through the agent, piece by piece, by their ``mlflow-artifacts:/`` address."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

import msgspec

from mlops_tui.client import wire
from mlops_tui.client.start import UnixConnection
from mlops_tui.contracts.artifact import ROOT
from mlops_tui.core.errors import BadInput, MlopsError, NotAllowed, NotFound, Unreachable

if TYPE_CHECKING:
    from mlops_tui.client.client import Client

PIECE = 1 << 20
_PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
_KINDS: dict[int, type[MlopsError]] = {400: BadInput, 403: NotAllowed, 404: NotFound}


def download(client: Client, address: str) -> Iterator[bytes]:
    """Yield a file's bytes as they come; what the agent does not send to its end is an error.

    Raises:
        MlopsError: there is no such file, or it is damaged.
        Unreachable: the agent is gone.
    """
    with _asked(client, "GET", address) as (answer, size):
        while piece := answer.read(PIECE):
            size -= len(piece)
            yield piece
        if size:
            raise Unreachable("the agent is gone", f"{size:,} bytes of {address} are missing", "mlops agent log")


def upload(client: Client, address: str, file: BinaryIO) -> None:
    """Put an open file at an address; all of it or nothing.

    Raises:
        MlopsError: it may not be put there.
        Unreachable: the agent is gone.
    """
    with _asked(client, "PUT", address, file):
        return


class _asked:  # a context manager that reads like a word
    """Ask for a file on a connection of its own, which is closed at the end."""

    def __init__(self, client: Client, method: str, address: str, file: BinaryIO | None = None) -> None:
        self._connection = UnixConnection(str(client.home.socket), 3600.0)
        self._method, self._address, self._file = method, address, file
        self._headers = {"host": "localhost", wire.TENANT: client.tenant}
        if file is not None:
            self._headers["content-length"] = str(os.fstat(file.fileno()).st_size)

    def __enter__(self) -> tuple[http.client.HTTPResponse, int]:
        if not self._address.startswith(ROOT):
            raise BadInput(f"{self._address} lies elsewhere", "", "read it with the program that wrote it")
        path = _PROXY + quote(self._address.removeprefix(ROOT))
        try:
            self._connection.request(self._method, path, self._file, self._headers)
            answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable("the agent does not answer", str(error), "mlops agent status") from error
        if answer.status >= 400:
            message = _message(answer.read())
            self._connection.close()
            raise _KINDS.get(answer.status, MlopsError)(message)
        return answer, int(answer.headers.get("content-length") or 0)

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _message(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body[:300].decode(errors="replace")
