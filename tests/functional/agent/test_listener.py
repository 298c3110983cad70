"""The loopback listener: off until asked for; own user, token, nobody else; no name and no page but our own."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import stat
import subprocess
import time
from urllib.parse import urlsplit

import msgspec
import pytest

from mlops_tui.agent.listener import Gate, token_of
from mlops_tui.agent.peers import tcp_peer_uid
from mlops_tui.core.errors import Conflict, NotAllowed

ASK = """
import sys, urllib.error, urllib.request
url, *headers = sys.argv[1:]
request = urllib.request.Request(url, headers=dict(one.split(": ", 1) for one in headers))
try:
    print(urllib.request.urlopen(request, timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


@pytest.fixture
def listener(agent):
    return agent.client().call("agent.url")


def ask(url: str, path: str = "/hello", method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_it_is_off_until_somebody_asks_and_says_where_it_is(home, agent):
    client = agent.client()
    assert client.call("agent.status").listener == ""
    before = client.call("audit.verify").records
    opened = client.call("agent.url")
    assert urlsplit(opened.url).hostname == "127.0.0.1"
    assert client.call("agent.status").listener == opened.url
    assert client.call("agent.url") == opened, "asking again opens nothing more"
    assert client.call("audit.verify").records == before + 1
    with pytest.raises(Conflict, match="is open at"):
        client.call("agent.url", {"port": urlsplit(opened.url).port % 60000 + 1025})
    token = home.runtime / "token"
    assert token.read_text() == opened.token and stat.S_IMODE(token.stat().st_mode) == 0o600
    assert ask(opened.url)[0] == 200
    agent.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(opened.url)
    agent.start()
    assert agent.client().call("agent.url").token == opened.token, "who has the token keeps it"


def test_the_own_user_goes_through_the_same_door_under_the_own_name(agent, listener):
    status, body = ask(listener.url, "/op/agent.status", "POST", b"{}")
    assert status == 200 and msgspec.json.decode(body)["pid"] == agent.process.pid
    asked = msgspec.json.encode({"name": agent.client().call("home.show").user, "role": "admin"})
    assert ask(listener.url, "/op/identity.create", "POST", asked)[0] == 200
    [row] = agent.client().call("audit.list", {"filter": "action:identity.create"}).rows
    assert row[2] == agent.client().call("home.show").user


def test_another_user_needs_the_token(as_nobody, listener):
    url = f"{listener.url}/hello"
    basic = base64.b64encode(f"amal:{listener.token}".encode()).decode()
    as_user = base64.b64encode(f"{listener.token}:".encode()).decode()
    wrong = base64.b64encode(f"amal:{listener.token[:-1]}".encode()).decode()
    refused = as_nobody(ASK, url).stdout
    assert refused.startswith("401 ") and "mlops agent url" in refused
    assert as_nobody(ASK, url, f"Authorization: Bearer {listener.token}").stdout.strip() == "200"
    assert as_nobody(ASK, url, f"Authorization: Basic {basic}").stdout.strip() == "200"
    assert as_nobody(ASK, url, f"Authorization: Basic {as_user}").stdout.strip() == "200"
    for header in ("Bearer wrong", "Bearer ", f"Basic {wrong}", "Basic %%%", f"Digest {listener.token}", "Basic Og=="):
        assert as_nobody(ASK, url, f"Authorization: {header}").stdout.startswith("401 "), header


def test_a_socket_that_its_owner_has_closed_is_not_taken_for_roots(as_nobody, agent, listener, until):
    """The kernel shows such a socket as uid 0, which is the agent's own where root runs it."""
    source = """
import socket, sys
host, port = sys.argv[1:]
with socket.create_connection((host, int(port))) as s:
    s.sendall(f"POST /op/agent.stop HTTP/1.1\\r\\nhost: {host}:{port}\\r\\ncontent-length: 2\\r\\n\\r\\n{{}}".encode())
"""
    parts = urlsplit(listener.url)
    os.kill(agent.process.pid, signal.SIGSTOP)
    done = as_nobody(source, parts.hostname, str(parts.port))
    time.sleep(0.5)  # until the kernel has nothing left of the socket but its end
    os.kill(agent.process.pid, signal.SIGCONT)
    assert done.returncode == 0, done.stderr
    with pytest.raises(subprocess.TimeoutExpired):
        agent.process.wait(timeout=1.5)


def test_only_our_own_names_are_answered(listener):
    port = urlsplit(listener.url).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", "127.0.0.1", f"[::2]:{port}", "", "a b"):
        status, body = ask(listener.url, Host=host)
        assert status == 403 and b"does not answer to the name" in body, host
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert ask(listener.url, Host=host)[0] == 200, host


def test_a_page_of_another_site_cannot_use_the_browser_of_this_user(listener):
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        status, body = ask(listener.url, "/op/agent.stop", "POST", b"{}", **headers)
        assert status == 403 and b"pages of other sites" in body, headers
    assert ask(listener.url, "/hello", Origin=listener.url, Sec_Fetch_Site="same-origin")[0] == 200


def test_a_foreign_name_is_refused_on_the_unix_socket_too(home, agent):
    from mlops_tui.client.start import UnixConnection

    for host, wanted in (("evil.example", 403), ("localhost", 200), ("localhost:5000", 200)):
        connection = UnixConnection(str(home.socket), 10)
        connection.request("GET", "/hello", headers={"Host": host})
        assert connection.getresponse().status == wanted, host
        connection.close()


def test_the_kernels_tables_are_read_by_both_ends(tmp_path):
    header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    line = "   {n}: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  {uid}        0 {inode} 1 0\n"
    mapped = "0000000000000000FFFF0000"
    rows = [
        ("0100007F:9C40", "0100007F:1388", "01", 1000, 11),
        ("0100007F:1388", "0100007F:9C40", "01", 0, 12),
        ("0100007F:9C41", "0100007F:1388", "06", 0, 0),
        ("0100007F:9C42", "0100007F:1388", "01", 0, 0),
    ]
    shown = [line.format(n=n, local=a, remote=b, state=c, uid=d, inode=e) for n, (a, b, c, d, e) in enumerate(rows)]
    (tmp_path / "tcp").write_text(header + "".join(shown))
    six = line.format(
        n=0, local=f"{mapped}0100007F:9C43", remote=f"{mapped}0100007F:1388", state="01", uid=1001, inode=9
    )
    (tmp_path / "tcp6").write_text(header + six)

    def owner(port: int) -> int | None:
        return tcp_peer_uid(("127.0.0.1", port), ("127.0.0.1", 5000), tmp_path)

    assert owner(40000) == 1000, "the client's own line counts, not the server's"
    assert owner(40001) is None and owner(40002) is None, "of a dead socket nothing is known"
    assert owner(40003) == 1001, "an IPv6 socket that speaks IPv4"
    assert owner(40004) is None
    assert tcp_peer_uid(("127.0.0.1", 40000), ("127.0.0.1", 5000), tmp_path / "none") is None


def test_a_token_that_others_may_read_is_not_used(tmp_path):
    made = token_of(tmp_path / "token")
    assert len(made) >= 43 and token_of(tmp_path / "token") == made
    (tmp_path / "token").chmod(0o640)
    with pytest.raises(NotAllowed, match="read by others"):
        token_of(tmp_path / "token")
    (tmp_path / "link").symlink_to(tmp_path / "token")
    with pytest.raises(OSError):
        token_of(tmp_path / "link")


async def test_the_gate_alone_knows_who_is_nobody():
    passed, sent = [], []

    async def application(scope, receive, send):
        passed.append(scope["client"])

    async def send(message):
        sent.append(message)

    gate = Gate(application, port=80, token="t")
    scope = {"type": "http", "client": ("tcp", 0), "headers": [(b"host", b"127.0.0.1")]}
    await gate(scope, None, send)
    assert not passed and sent[0]["status"] == 401
    await gate({**scope, "headers": [*scope["headers"], (b"authorization", b"Bearer t")]}, None, send)
    await gate({**scope, "client": ("uid:7", 0)}, None, send)
    assert passed == [(f"uid:{os.getuid()}", 0), ("uid:7", 0)]
