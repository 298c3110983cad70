"""Which reader fits what a person has typed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.tracking.exchange.source import Source


def absolute(typed: str, cwd: str) -> str:
    """Return the source as it must be written elsewhere: paths of the caller made absolute.

    Raises:
        NotFound: a folder or file that is not there.
        BadInput: nothing that can be read.
    """
    scheme = urlsplit(typed).scheme
    if scheme in ("http", "https"):
        if not urlsplit(typed).hostname:
            raise BadInput(f"{typed!r:.200} names no server", "", "mlops import mlflow http://127.0.0.1:5000")
        return typed.rstrip("/")
    if scheme not in ("", "sqlite", "file"):
        raise BadInput(
            f"{scheme} is nothing that is read", "a source is a server, a folder or an SQLite database",
            "start mlflow server on it and import from http://…",
        )  # fmt: skip
    path = Path(cwd or "/", _path(typed) if scheme else Path(typed).expanduser())
    if not path.exists():
        raise NotFound(f"there is no {path}", "", "give the path from where you are")
    return str(path.resolve())


def shown(source: str) -> str:
    """Return a source without the user and password that it may carry."""
    parts = urlsplit(source)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else source


def mlflow_source(source: str, *, wire: bool = False) -> Source:
    """Open a place of MLflow's.

    Args:
        source: as :func:`absolute` returns it.
        wire: ask a server for its points even when its database lies on this machine.

    Raises:
        MlopsError: nothing is there, or nothing of MLflow's; the server does not answer, or refuses.
    """
    if urlsplit(source).scheme in ("http", "https"):
        from mlops_tui.tracking.exchange.mlflow_server import server_source

        return server_source(source, wire=wire)
    path = Path(source)
    if (path / DATABASE).is_file():
        path /= DATABASE
    if path.is_file():
        from mlops_tui.tracking.exchange.mlflow_sqlite import SqliteSource

        return SqliteSource(path)
    from mlops_tui.tracking.exchange.mlflow_folder import FolderSource

    return FolderSource(path)


def wandb_source(source: str) -> Source:
    """Open a folder of W&B's; see :func:`mlflow_source`."""
    from mlops_tui.tracking.exchange.wandb_folder import WandbSource

    if "://" in source:
        raise BadInput(f"{source} is no folder", "runs are read where W&B wrote them", "mlops import wandb ./wandb")
    return WandbSource(Path(source))


DATABASE = "mlflow.db"
"""What MLflow calls its database by default; an export of ours does, too."""


def _path(uri: str) -> str:
    """Return the path in ``sqlite:///relative``, ``sqlite:////absolute`` and ``file:///absolute``, as MLflow does."""
    parts = urlsplit(uri)
    path = unquote(parts.path)
    return path[1:] if parts.scheme == "sqlite" else path
