"""TLS and mTLS, tokens that change while it serves, and a disk that is full under the log, with a real server."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.client
import ipaddress
import json
import resource
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates for a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = self._named("authority")
        made = self._begin(self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self.path = self._write("ca.pem", made.sign(self._key, hashes.SHA256()))

    def issue(self, name: str, serial: int = 0) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = self._begin(self._named(name), key, serial).add_extension(here, False).sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / f"{name}.key.new").write_bytes(private)
        (self.folder / f"{name}.key.new").replace(self.folder / f"{name}.key")
        return self._write(f"{name}.pem", made), str(self.folder / f"{name}.key")

    def _named(self, name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def _begin(self, subject: x509.Name, key: Any, serial: int = 0) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return x509.CertificateBuilder(
            self._name,
            subject,
            key.public_key(),
            serial or x509.random_serial_number(),
            now - datetime.timedelta(1),
            now + datetime.timedelta(1),
        )

    def _write(self, name: str, made: x509.Certificate) -> str:
        new = self.folder / f"{name}.new"
        new.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return str(new.replace(self.folder / name))


def asks(server: Any, kit: Any, context: ssl.SSLContext) -> int:
    line = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=context)
    try:
        line.request("POST", "/v2/models/employment/infer", json.dumps(kit.request([[1, 2, 3, 4]])))
        return line.getresponse().status
    finally:
        line.close()


def test_tls_with_a_certificate_that_is_renewed(make: Callable[..., Any], kit: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("server", 1001)
    server = make(tls={"cert": cert, "key": key})
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    trusting = ssl.create_default_context(cafile=authority.path)
    assert asks(server, kit, trusting) == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        asks(server, kit, ssl.create_default_context())
    plain = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/v2/health/live")
        plain.getresponse()
    authority.issue("server", 1002)
    deadline = time.monotonic() + 10
    while serial(server, trusting) != 1002:
        assert time.monotonic() < deadline
    assert asks(server, kit, trusting) == 200


def serial(server: Any, context: ssl.SSLContext) -> int:
    with context.wrap_socket(server.connect(), server_hostname="127.0.0.1") as line:
        return int(line.getpeercert()["serialNumber"], 16)


def test_with_mtls_only_known_clients_are_served(make: Callable[..., Any], kit: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    ours, theirs = Authority(tmp_path), Authority(other)
    cert, key = ours.issue("server")
    server = make(tls={"cert": cert, "key": key, "client_ca": ours.path})
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    for authority, served in ((ours, True), (theirs, False), (None, False)):
        context = ssl.create_default_context(cafile=ours.path)
        if authority is not None:
            context.load_cert_chain(*authority.issue("client"))
        if served:
            assert asks(server, kit, context) == 200
        else:
            with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
                asks(server, kit, context)

    mine = Path(ours.path).read_bytes()
    (tmp_path / "ca.new").write_bytes(Path(theirs.path).read_bytes())
    (tmp_path / "ca.new").replace(ours.path)
    now = ssl.create_default_context(cadata=mine.decode())
    now.load_cert_chain(*theirs.issue("client"))
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if asks(server, kit, now) == 200:
                break
        assert time.monotonic() < deadline
    before = ssl.create_default_context(cadata=mine.decode())
    before.load_cert_chain(*ours.issue("client"))
    with pytest.raises((OSError, http.client.HTTPException)):
        asks(server, kit, before)


def test_grpc_takes_a_renewed_certificate_too(make: Callable[..., Any], kit: Any, tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    authority = Authority(tmp_path)
    cert, key = authority.issue("server", 1001)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = make(workers=1, tls={"cert": cert, "key": key}, grpc_port=port)
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    trusting = ssl.create_default_context(cafile=authority.path)
    trusting.set_alpn_protocols(["h2"])

    def number() -> int:
        with (
            socket.create_connection(("127.0.0.1", port)) as sock,
            trusting.wrap_socket(sock, server_hostname="127.0.0.1") as line,
        ):
            return int(line.getpeercert()["serialNumber"], 16)

    assert number() == 1001
    authority.issue("server", 1002)
    assert number() == 1002


def test_a_token_is_revoked_on_a_connection_that_is_open(make: Callable[..., Any], kit: Any) -> None:
    server = make()
    path = server.folder / "tokens.json"

    def let_in(*secrets: str) -> None:
        listed = [{"client": s, "sha256": hashlib.sha256(s.encode()).hexdigest()} for s in secrets]
        path.with_suffix(".new").write_text(json.dumps({"tokens": listed}))
        path.with_suffix(".new").replace(path)

    let_in("old", "new")
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)

    def status(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        line.request("POST", "/v2/models/employment/infer", json.dumps(kit.request([[1, 2, 3, 4]])), headers)
        answer = line.getresponse()
        answer.read()
        return answer.status

    assert [status(s) for s in ("old", "old", "new", "none")] == [200, 200, 200, 401]
    let_in("new")
    deadline = time.monotonic() + 10
    while status("old") != 401:
        assert time.monotonic() < deadline
    assert status("new") == 200
    assert server.call("GET", "/v2/health/ready")[0] == 200


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_a_full_disk_under_the_log_costs_no_request(make: Callable[..., Any], kit: Any) -> None:
    server = make()
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    (worker,) = server.workers
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, 4096))
    for _ in range(200):
        server.infer([[1, 2, 3, 4]])
    metrics = server.call("GET", "/metrics")[2].decode()
    dropped = next(line for line in metrics.splitlines() if line.startswith("mlops_serving_log_dropped_rows_total"))
    assert 0 < int(dropped.rpartition(" ")[2]) < 200
    assert server.workers == [worker] and sum(server.rows(0).values()) + int(dropped.rpartition(" ")[2]) == 200
