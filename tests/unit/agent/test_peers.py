"""Who is at the other end of a connection, by the kernel's word."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from mlops_tui.agent.peers import here, unix_peer


def test_the_other_end_of_a_unix_socket_has_a_process():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert unix_peer(ours) == (os.getpid(), os.getuid())


def test_a_tunnel_and_a_process_that_is_gone_are_nobody():
    named = "open('/proc/self/comm', 'w').write('sshd'); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", named], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            assert here(os.getpid()) == os.getpid() and here(process.pid) == 0
        finally:
            process.kill()
    assert here(process.pid) == 0
