"""Bad luck: each gives one clear message and the right exit code, and nothing is lost or half-written."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys

import pytest

from mlops_tui.cli.commands import checks
from mlops_tui.client import Client
from mlops_tui.core.config import load
from mlops_tui.core.errors import Conflict, MlopsError, NotAllowed, StoreTooNew
from mlops_tui.core.paths import home as home_of_environment
from mlops_tui.keys import open_keys
from mlops_tui.store.store import Store

START = [sys.executable, "-m", "mlops_tui.agent"]
CALL = """
import sys
from mlops_tui.client import Client
from mlops_tui.core.errors import MlopsError
try:
    Client()
except MlopsError as error:
    print(error, file=sys.stderr)
    sys.exit(int(error.exit_code))
"""


def one_message(text: str) -> bool:
    return len(text.strip().splitlines()) == 1 and "Traceback" not in text


def fill(folder) -> None:
    ballast = os.open(folder / "ballast", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(ballast, b"x" * 4096)
    except OSError:
        os.close(ballast)


def make_admin(client, **context):
    return client.call("identity.create", {"name": client.call("home.show").user, "role": "admin"}, **context)


def test_a_store_newer_than_the_program_is_refused_and_left_alone(home):
    keys = open_keys(home, load(where=home))
    store = Store(home.store, keys.store_key)
    store.write(lambda s: s.execute("INSERT INTO migration VALUES (9999, 'later.sql', 'x', now()::TIMESTAMP)"))
    store.close()
    before = (home.store / "mlops.duckdb").read_bytes()
    with pytest.raises(StoreTooNew, match="schema 9999") as refused:
        Client(home)
    assert refused.value.exit_code == 6 and "upgrade" in refused.value.fix
    assert (home.store / "mlops.duckdb").read_bytes() == before
    said = next(check for check in checks.everything() if check.name == "agent")
    assert said.state == "fail" and "schema 9999" in said.text and "upgrade" in said.fix


def test_a_wrong_key_is_exit_4_and_says_which_key_is_wanted(home, agent):
    agent.stop()
    [file] = [path for path in home.keys.rglob("*") if path.is_file()]
    kept, text = file.read_bytes(), file.read_text().strip()
    file.write_text(("B" if text[0] == "A" else "A") + text[1:] + "\n")
    with pytest.raises(NotAllowed, match="key") as refused:
        Client(home)
    assert refused.value.exit_code == 4
    done = subprocess.run(START, capture_output=True, text=True, timeout=90)
    assert done.returncode == 4 and one_message(done.stderr)
    file.write_bytes(kept)
    agent.start()


def test_a_home_where_nobody_may_write(as_nobody, tmp_path, home):
    folder = home.runtime.parent / "others"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    folder.chmod(0o555)
    home.runtime.parent.chmod(0o711)
    done = as_nobody(CALL, MLOPS_HOME=str(folder / "home"), XDG_RUNTIME_DIR=str(home.runtime.parent))
    assert (done.returncode, one_message(done.stderr)) == (1, True), done.stderr
    assert "cannot create the folder" in done.stderr and "set MLOPS_HOME" in done.stderr
    ours = home.runtime.parent / "ours"
    (ours / "state" / "logs").mkdir(parents=True)
    done = as_nobody(CALL, MLOPS_HOME=str(ours), XDG_RUNTIME_DIR=str(folder))
    assert (done.returncode, one_message(done.stderr)) == (4, True), done.stderr
    assert "belongs to another user" in done.stderr


def test_a_home_on_a_disk_that_is_read_only(disk, monkeypatch, home, gone):
    folder = disk(64)
    monkeypatch.setenv("MLOPS_HOME", str(folder / "home"))
    first = Client(home_of_environment())
    first.call("agent.stop")
    gone(first.hello.pid)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with pytest.raises(MlopsError) as refused:
        Client(home_of_environment())
    assert one_message(str(refused.value)) and "ead-only" in str(refused.value), refused.value
    done = subprocess.run(START, capture_output=True, text=True, timeout=90)
    assert done.returncode == 1 and one_message(done.stderr), done.stderr


def test_a_full_disk_is_one_message_and_nothing_is_lost(disk, monkeypatch, home, gone):
    folder = disk(32)
    monkeypatch.setenv("MLOPS_HOME", str(folder / "home"))
    client = Client(home_of_environment())
    pid = client.hello.pid
    kept = 0
    for _ in range(5):
        make_admin(client, reason="r" * 3000)
        kept += 1
    fill(folder)
    refused = None
    for _ in range(50):
        try:
            make_admin(client, reason="r" * 3000)
            kept += 1
        except MlopsError as error:
            refused = error
            break
    assert refused is not None and one_message(str(refused)), refused
    assert (refused.what, refused.exit_code) == ("the disk is full", 1)
    assert client.call("audit.verify").records == kept, "reading goes on"
    client.call("agent.stop")
    gone(pid)  # with the disk still full: its log cannot be folded
    (folder / "ballast").unlink()
    again = Client(home_of_environment())
    assert (again.call("audit.verify").records, again.call("audit.verify").ok) == (kept, True)
    make_admin(again)
    again.call("agent.stop")
    gone(again.hello.pid)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux lets one limit another process")
def test_a_file_that_may_not_grow_is_told_as_a_full_disk(home, agent):
    client = agent.client()
    make_admin(client)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (home.store / "mlops.duckdb.wal").stat().st_size
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (size + 40_000, unlimited[1]))
    kept = 1
    with pytest.raises(MlopsError, match="the disk is full") as refused:
        for _ in range(100):
            make_admin(client, reason="r" * 3000)
            kept += 1
    assert one_message(str(refused.value)) and 1 < kept < 100
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, unlimited)
    make_admin(client)
    verdict = client.call("audit.verify")
    assert (verdict.ok, verdict.records) == (True, kept + 1)


def test_when_the_database_gives_up_the_next_agent_takes_over(disk, monkeypatch, home, gone):
    folder = disk(32)
    monkeypatch.setenv("MLOPS_HOME", str(folder / "home"))
    where = home_of_environment()
    client = Client(where)
    make_admin(client)
    keys = open_keys(where, load(where=where))
    client.call("agent.stop")
    gone(client.hello.pid)
    store = Store(where.store, keys.store_key)
    store.write(lambda s: s.execute("CREATE TABLE much AS SELECT hash(i) AS x FROM range(100000) t(i)"))
    fill(folder)
    with pytest.raises(MlopsError):
        store.checkpoint().result()
    assert store.gone.is_set()
    with pytest.raises(MlopsError, match="opened again"), store.read() as session:
        session.value("SELECT count(*) FROM much")
    (folder / "ballast").unlink()
    store.close()
    again = Store(where.store, keys.store_key)
    with again.read() as session:
        assert session.value("SELECT count(*) FROM much") == 100_000
    again.close()


def test_another_user_on_the_socket_is_not_answered(as_nobody, home, agent):
    # The folder keeps others out already; here it is opened wide, so that only the kernel's word on the peer is left.
    for path, mode in ((home.runtime.parent, 0o755), (home.runtime, 0o755), (home.socket, 0o666)):
        path.chmod(mode)
    ask = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "try:\n    s.sendall(b'GET /hello HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n'); print(s.recv(100))\n"
        "except (BrokenPipeError, ConnectionResetError): print(b'')\n"
    )
    assert as_nobody(ask, str(home.socket)).stdout.strip() == "b''"
    own = subprocess.run([sys.executable, "-c", ask, str(home.socket)], capture_output=True, text=True, timeout=20)
    assert "200 OK" in own.stdout


def test_a_port_that_is_in_use(agent):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(Conflict, match="cannot listen on port") as refused:
            agent.client().call("agent.url", {"port": taken.getsockname()[1]})
        assert "another port" in refused.value.fix
