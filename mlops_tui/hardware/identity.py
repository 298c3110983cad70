"""Which process is meant: (host, boot, pid, creation time), as the spool notes it for its writers."""

from __future__ import annotations

import os

import msgspec

from mlops_tui.spool.process import ProcessId, boot_id, created_us, is_alive


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One process of one boot of one host. ``created`` in µs, comparable only with another identity's."""

    host: str
    boot: str
    pid: int
    created: int


def identity(pid: int | None = None) -> Identity | None:
    """Return who a process of this host is; default, the calling one. None when there is no such process."""
    number = os.getpid() if pid is None else pid
    created = created_us(number)
    return None if created is None else Identity(host=os.uname().nodename, boot=boot_id(), pid=number, created=created)


def alive(who: Identity) -> bool | None:
    """Tell whether this very process still runs; None when it is another host's and nothing can be said from here.

    A recycled pid, a zombie and a process of an earlier boot are not alive.
    """
    return is_alive(ProcessId(host=who.host, boot=who.boot, pid=who.pid, created=who.created))
