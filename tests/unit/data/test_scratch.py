"""Plaintext of stored artifacts: in memory, private, and gone whatever becomes of the job."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from mlops_tui.core.errors import MlopsError
from mlops_tui.data import scratch as room
from mlops_tui.data.scratch import scratch

HOLDER = """
import sys, time
from pathlib import Path
from mlops_tui.data import scratch
scratch.MEMORY = Path(sys.argv[1])
with scratch.scratch() as folder:
    (folder / "plain.csv").write_text("secret")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "MEMORY", tmp_path)
    return tmp_path


@pytest.fixture
def holder(base):
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(base)], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    yield child, child.stdout.readline().strip()
    child.kill()
    child.wait()


def age(folder):
    long_ago = time.time() - 2 * room.YOUNG_S
    os.utime(folder, (long_ago, long_ago))


def test_the_folder_is_private_and_goes_with_its_block(base):
    with scratch() as folder:
        assert folder.parent == base and folder.stat().st_mode & 0o777 == 0o700
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert not list(base.iterdir())
    with pytest.raises(ValueError), scratch() as folder:
        raise ValueError
    assert not list(base.iterdir())


def test_memory_is_taken_where_there_is_some():
    with scratch() as folder:
        assert str(folder).startswith("/dev/shm/" if os.access("/dev/shm", os.W_OK) else "/tmp")


def test_what_a_killed_job_left_is_swept_by_the_next(base, holder):
    child, folder = holder
    child.send_signal(signal.SIGKILL)
    child.wait()
    with scratch():
        assert os.path.exists(folder)  # a minute's grace: it could be one that is not locked yet
    age(folder)
    with scratch():
        assert not os.path.exists(folder)


def test_a_living_job_keeps_its_folder(base, holder):
    _, folder = holder
    age(folder)
    with scratch():
        assert os.path.exists(os.path.join(folder, "plain.csv"))


def test_a_place_that_is_full_is_told(base):
    with pytest.raises(MlopsError, match="there is no room for the unsealed data") as caught, scratch():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "--shm-size" in caught.value.fix
    with pytest.raises(PermissionError), scratch():
        raise PermissionError(errno.EACCES, "no")
    assert not list(base.iterdir())
