"""Where things lie on disk: everything under ``MLOPS_HOME``, or in the XDG folders when it is unset."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlops_tui.core.errors import MlopsError, NotAllowed


@dataclass(frozen=True)
class Home:
    """The folders of one installation. ``data`` identifies it: its hash names socket and lock."""

    data: Path
    state: Path
    cache: Path
    config: Path

    @property
    def store(self) -> Path:
        return self.data / "store"

    @property
    def spool(self) -> Path:
        return self.data / "spool"

    @property
    def blobs(self) -> Path:
        return self.data / "blobs"

    @property
    def keys(self) -> Path:
        return self.data / "keys"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def jobs(self) -> Path:
        """One folder a job: its working files, log and checkpoint folder."""
        return self.state / "jobs"

    @property
    def deployments(self) -> Path:
        """One folder a deployment: routes file, counters, supervisor log."""
        return self.state / "deployments"

    @property
    def toggles(self) -> Path:
        """One definition file of feature toggles a tenant, for users' code; servers have their own part of it."""
        return self.state / "toggles"

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def runtime(self) -> Path:
        """The private folder of socket and lock, never inside a home that may be on NFS."""
        import hashlib  # a screen is painted before anybody asks where the socket is

        digest = hashlib.sha256(os.path.realpath(self.data).encode()).hexdigest()[:12]
        base = os.environ.get("XDG_RUNTIME_DIR")
        if base and os.access(base, os.W_OK):
            return Path(base) / f"mlops-{digest}"
        return Path(tempfile.gettempdir()) / f"mlops-{os.getuid()}" / digest

    @property
    def socket(self) -> Path:
        return self.runtime / "agent.sock"

    @property
    def lock(self) -> Path:
        return self.runtime / "agent.lock"


def home() -> Home:
    """Return the folders that the environment names now; creates nothing."""
    root = os.environ.get("MLOPS_HOME")
    if root:
        base = Path(root).expanduser().absolute()
        return Home(base, base / "state", base / "cache", base)
    user = Path.home()
    return Home(
        data=_xdg("XDG_DATA_HOME", user / ".local/share"),
        state=_xdg("XDG_STATE_HOME", user / ".local/state"),
        cache=_xdg("XDG_CACHE_HOME", user / ".cache"),
        config=_xdg("XDG_CONFIG_HOME", user / ".config"),
    )


def _xdg(variable: str, fallback: Path) -> Path:
    return Path(os.environ.get(variable) or fallback) / "mlops"


def private_dir(path: Path) -> Path:
    """Create a folder that only its owner can enter, as is every folder above it that was missing.

    A folder that belongs to somebody else is refused; one that others may enter is closed to them.

    Raises:
        NotAllowed: the folder exists and is another user's.
        MlopsError: the folder cannot be made (read-only or full disk).
    """
    try:
        for folder in reversed([path, *path.parents]):
            # Not mkdir(parents=True): that makes the parents as open as the umask lets it.
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise MlopsError(
            f"cannot create the folder {path}",
            str(error.strerror or error),
            "set MLOPS_HOME to a folder that you may write",
        ) from error
    if found.st_uid != os.getuid():
        raise NotAllowed(
            f"{path} belongs to another user",
            f"its owner is uid {found.st_uid}",
            "set MLOPS_HOME to a folder of your own",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path
