"""Who is at the other end of a connection, by the kernel's word."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

from mlops_tui.agent.peers import here, unix_peer


def test_the_other_end_of_a_unix_socket_has_a_process():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert unix_peer(ours) == (os.getpid(), os.getuid())


def test_a_tunnel_and_a_process_that_is_gone_are_nobody(tmp_path):
    tunnel = tmp_path / "sshd"
    shutil.copy(shutil.which("sleep"), tunnel)
    with subprocess.Popen([tunnel, "60"]) as process:
        try:
            assert here(os.getpid()) == os.getpid() and here(process.pid) == 0
        finally:
            process.kill()
    assert here(process.pid) == 0
