from __future__ import annotations

import base64
import socket

import pytest

from mlops_tui.serving.problem import Problem
from mlops_tui.serving.protocol.guard import Guard
from mlops_tui.serving.protocol.tokens import Tokens


def status(guard: Guard, path: str = "/v2", **headers: str) -> int:
    try:
        guard.check(path, {name.encode(): value.encode() for name, value in headers.items()})
    except Problem as problem:
        return problem.status
    return 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:80", "LocalHost:1", "127.0.0.1:8080", "127.9.9.9", "[::1]:80", "localhost.", "extra"],
)
def test_loopback_and_allowed_names_pass(host: str) -> None:
    assert status(Guard("127.0.0.1", ["extra"]), host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "x@localhost",
        "",
        "[::1",
        "a/b",
    ],
)
def test_foreign_hosts_are_refused(host: str) -> None:
    assert status(Guard("127.0.0.1"), host=host) == 403


def test_beyond_loopback_addresses_and_the_own_name_pass_but_no_foreign_name() -> None:
    guard = Guard("0.0.0.0")
    assert status(guard, host="10.1.2.3:80") == 200
    assert status(guard, host=socket.gethostname()) == 200
    assert status(guard, host="evil.example") == 403


def test_a_request_without_host_and_one_from_a_foreign_page() -> None:
    guard = Guard("127.0.0.1")
    assert status(guard) == 400
    assert status(guard, host="localhost", origin="http://evil.example") == 403
    assert status(guard, host="localhost", origin="null") == 403
    assert status(guard, host="localhost", origin="http://localhost:3000") == 200


def test_the_token_as_bearer_or_password_and_open_health() -> None:
    guard = Guard("127.0.0.1", tokens=Tokens(None, "s3cret"))
    basic = base64.b64encode(b"me:s3cret").decode()
    assert status(guard, host="localhost") == 401
    assert status(guard, host="localhost", authorization="Bearer s3cret") == 200
    assert status(guard, host="localhost", authorization=f"Basic {basic}") == 200
    for wrong in ("Bearer nope", "Bearer", "s3cret", "Basic !!!", "Basic " + base64.b64encode(b"s3cret").decode()):
        assert status(guard, host="localhost", authorization=wrong) == 401
    assert status(guard, "/v2/health/live", host="localhost") == 200
    assert status(guard, "/metrics", host="localhost") == 401
