"""Where a server of this machine and this user keeps its database: read there, ten times as fast as asked for."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import psutil

VARIABLES = ("_MLFLOW_SERVER_FILE_STORE", "MLFLOW_BACKEND_STORE_URI")
"""In which an MLflow server tells its own processes where its store is."""
SQLITE = "sqlite:///"


def database_of(host: str, port: int) -> Path | None:
    """Return the SQLite file of the MLflow server that listens on a loopback address, None when it has none to read."""
    if not _is_loopback(host):
        return None
    for process in _listening(port):
        with suppress(psutil.Error, OSError):
            told = process.environ()
            uri = next((told[name] for name in VARIABLES if told.get(name)), "")
            path = Path(process.cwd(), uri.removeprefix(SQLITE))
            if uri.startswith(SQLITE) and path.is_file() and path.stat().st_uid == os.getuid():
                return path
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def _listening(port: int) -> list[psutil.Process]:
    """Return the processes of this user that listen on a port."""
    with suppress(psutil.Error, OSError):
        pids = {
            one.pid
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid
        }
        return [psutil.Process(pid) for pid in sorted(pids)]
    return []
