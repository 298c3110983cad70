"""The protocol over gRPC, for clients that speak nothing else (extra ``grpc``): REST in other clothes.

A call is put into the REST protocol's words, with binary tensors, and goes the way of every request: the same checks,
routes, counters and log. That costs some microseconds more, in a protocol that costs six times as much as REST anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import orjson
from google.protobuf.message import DecodeError

from mlops_tui.serving.bodies import LENGTH
from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.problem import Answer, Problem
from mlops_tui.serving.tls import Context, Tls
from mlops_tui.serving.traffic.call import Ticket
from mlops_tui.serving.transport.front import Front
from mlops_tui.serving.transport.grpc_messages import METHODS, SERVICE, messages
from mlops_tui.serving.transport.grpc_words import response, said_by, words

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_MARGIN = 65_536
_REPOSITORY = "/v2/repository"


class GrpcServer:
    """The gRPC service of one worker, on a port that all workers share.

    Args:
        front: whose application answers.
        deployment: port, limits and TLS.
    """

    def __init__(self, front: Front, deployment: Deployment) -> None:
        self._front = front
        most = ("grpc.max_receive_message_length", deployment.max_body + _MARGIN)
        self._server = grpc.aio.server(options=[most, ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 1)])
        calls = {
            name: grpc.unary_unary_rpc_method_handler(
                self._handler(name),
                response_serializer=messages()[f"{name}Response"].SerializeToString,
            )
            for name in METHODS
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, calls),))
        host = f"[{deployment.host}]" if ":" in deployment.host else deployment.host
        self._address = f"{host}:{deployment.grpc_port}"
        self._tls = Context(deployment.tls) if deployment.tls is not None else None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            RuntimeError: the port is another program's.
        """
        if self._tls is None:
            self._server.add_insecure_port(self._address)
        else:
            self._server.add_secure_port(self._address, self._credentials(self._tls))
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls and finish those under way."""
        await self._server.stop(grace_s)

    def _credentials(self, tls: Context) -> Any:
        with_client = tls.files.client_ca is not None
        return grpc.dynamic_ssl_server_credentials(_certificates(tls.files), lambda: _renewed(tls), with_client)

    def _handler(self, name: str) -> Any:
        answer, kind = getattr(self, f"_{name}"), messages()[f"{name}Request"]

        async def handle(data: bytes, context: Any) -> Any:
            headers = {key.encode(): _bytes(value) for key, value in context.invocation_metadata() or ()}
            headers = {b"host": b"localhost", **{k: v for k, v in headers.items() if k not in _FRAMING}}
            try:
                return await answer(_read(kind, data), headers)
            except Problem as problem:
                await context.abort(_code(problem.status), problem.message)

        return handle

    # The calls.

    async def _ServerLive(self, request: Any, headers: dict[bytes, bytes]) -> Any:
        return messages()["ServerLiveResponse"](live=True)

    async def _ServerReady(self, request: Any, headers: dict[bytes, bytes]) -> Any:
        return messages()["ServerReadyResponse"](ready=self._is("/v2/health/ready", headers))

    async def _ModelReady(self, request: Any, headers: dict[bytes, bytes]) -> Any:
        return messages()["ModelReadyResponse"](
            ready=self._is(_path(request.name, request.version) + "/ready", headers)
        )

    async def _ServerMetadata(self, request: Any, headers: dict[bytes, bytes]) -> Any:
        return messages()["ServerMetadataResponse"](**self._get("/v2", headers))

    async def _ModelMetadata(self, request: Any, headers: dict[bytes, bytes]) -> Any:
        about = self._get(_path(request.name, request.version), headers)
        return messages()["ModelMetadataResponse"](**{k: v for k, v in about.items() if k != "parameters"})

    async def _ModelInfer(self, request: Any, headers: dict[bytes, bytes]) -> Any:
        head, body = words(request)
        headers |= {LENGTH: b"%d" % len(head), b"content-type": b"application/octet-stream"}
        path = _path(request.model_name, request.model_version) + "/infer"
        return response(_good(await self._ask(path, headers, head + body)))

    async def _RepositoryIndex(self, request: Any, headers: dict[bytes, bytes]) -> Any:
        answer = await self._ask(f"{_REPOSITORY}/index", headers, orjson.dumps({"ready": request.ready}))
        return messages()["RepositoryIndexResponse"](models=orjson.loads(_good(answer).body))

    async def _RepositoryModelLoad(self, request: Any, headers: dict[bytes, bytes]) -> Any:
        await self._change(request, "load", headers)
        return messages()["RepositoryModelLoadResponse"]()

    async def _RepositoryModelUnload(self, request: Any, headers: dict[bytes, bytes]) -> Any:
        await self._change(request, "unload", headers)
        return messages()["RepositoryModelUnloadResponse"]()

    # How the application is asked.

    async def _change(self, request: Any, verb: str, headers: Mapping[bytes, bytes]) -> None:
        path = f"{_REPOSITORY}/models/{quote(request.model_name, safe='')}/{verb}"
        # A client may send a model's bytes along; that it may not is said where the others are refused.
        _good(await self._ask(path, headers, orjson.dumps({"parameters": said_by(request)}, default=repr)))

    async def _ask(self, path: str, headers: Mapping[bytes, bytes], body: bytes) -> Answer:
        app = self._front.app
        try:
            asked = app.ask(app.admit("POST", path, headers), body)
        except Exception as error:
            return app.refuse(error)
        if not isinstance(asked, Ticket):
            return asked
        waiter = _Waiter(asked)
        asked.owner = waiter
        self._front.owes(waiter)
        return await waiter.answered

    def _get(self, path: str, headers: Mapping[bytes, bytes]) -> Any:
        return orjson.loads(_good(self._front.app.handle("GET", path, headers, b"")).body)

    def _is(self, path: str, headers: Mapping[bytes, bytes]) -> bool:
        answer = self._front.app.handle("GET", path, headers, b"")
        return answer.status == 200 or (answer.status != 503 and bool(_good(answer)))


def _certificates(files: Tls) -> Any:
    pair = (Path(files.key).read_bytes(), Path(files.cert).read_bytes())
    authority = None if files.client_ca is None else Path(files.client_ca).read_bytes()
    return grpc.ssl_server_certificate_configuration([pair], authority)


def _renewed(tls: Context) -> Any:
    """Return what a handshake is to go on with, when that is news; asked before each."""
    return _certificates(tls.files) if tls.look() else None


_FRAMING = frozenset(
    {b"host", b"origin", b"content-type", b"content-length", b"content-encoding", b"accept-encoding", LENGTH}
)
"""Headers that say how a body travels or from which page: we say that here. All others mean what they do in REST."""


class _Waiter:
    """Takes an answer away, as a connection does."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self.answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def deliver(self) -> None:
        """Hand the answer over, once there is one and somebody still waits."""
        if self._ticket.answer is not None and not self.answered.done():
            self.answered.set_result(self._ticket.answer)

    def check_time(self, now: float) -> None:
        """Nothing: the caller's deadline is gRPC's business."""


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _path(model: str, version: str) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _read(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Problem(f"this is no {kind.DESCRIPTOR.name}: {error}") from error


def _code(status: int) -> grpc.StatusCode:
    return _CODES.get(status, grpc.StatusCode.INTERNAL if status >= 500 else _CODES[400])


def _good(answer: Answer) -> Answer:
    if answer.status != 200:
        raise Problem(str(orjson.loads(answer.body).get("error", "not ready")), answer.status)
    return answer
