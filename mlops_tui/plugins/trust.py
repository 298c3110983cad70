"""Which plugins may be loaded: a small file of the user's, readable by agent, workers and screens alike.

Trust is given to one version with its exact files. A plugin that is upgraded or edited has to be trusted again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

from mlops_tui.core.errors import MlopsError, NotAllowed
from mlops_tui.core.paths import Home, private_dir
from mlops_tui.plugins.found import Found

FILE = "trusted-plugins.json"


def trust_file(home: Home) -> Path:
    """Return where trust is kept."""
    return home.config / FILE


def trusted(home: Home) -> dict[str, dict[str, str]]:
    """Return version and digest of each trusted plugin by name; empty when nobody was trusted yet.

    Raises:
        NotAllowed: the file is damaged, or somebody else could have written it.
    """
    path = trust_file(home)
    try:
        status, raw = path.stat(), path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise NotAllowed(f"cannot read {path}", str(error.strerror), "make it readable for you") from error
    if status.st_uid not in (os.getuid(), 0) or status.st_mode & 0o022:
        raise NotAllowed(f"{path} may be written by others", "so it proves nothing", f"chmod 600 {path}")
    try:
        found: dict[str, dict[str, str]] = json.loads(raw)["plugins"]
        return {str(name): {"version": one["version"], "digest": one["digest"]} for name, one in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAllowed(f"{path} is damaged", str(error), "delete it and trust your plugins again") from error


def set_trust(home: Home, plugin: Found, *, revoke: bool = False) -> None:
    """Trust exactly the installed version of a plugin, or take that back; the file is replaced whole.

    Raises:
        NotAllowed: the installed files are not those of its RECORD.
        MlopsError: the file cannot be written.
    """
    entries = trusted(home)
    entries.pop(plugin.name, None)
    if not revoke:
        check_files(plugin)
        entries[plugin.name] = {"version": plugin.version, "digest": plugin.digest}
    path = trust_file(home)
    private_dir(home.config)
    new = path.with_name(f".{FILE}-{os.getpid()}")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"format": 1, "plugins": entries}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise MlopsError(f"cannot write {path}", str(error.strerror), "free some space, or chmod its folder") from error


def state_of(home: Home, plugin: Found) -> str:
    """Return ``trusted``, ``untrusted``, or ``changed`` when another version or other files were trusted."""
    if plugin.name not in trusted(home):
        return "untrusted"
    try:
        require_trust(home, plugin)
    except NotAllowed:
        return "changed"
    return "trusted"


def require_trust(home: Home, plugin: Found) -> None:
    """Return when a plugin may be loaded.

    Raises:
        NotAllowed: it was never trusted, or it is no longer what was trusted.
    """
    entry = trusted(home).get(plugin.name)
    if entry != {"version": plugin.version, "digest": plugin.digest} or not plugin.digest:
        why = "nobody trusted it yet" if entry is None else "it was changed since it was trusted"
        raise NotAllowed(f"the plugin {plugin.name} is not loaded", why, f"mlops plugin trust {plugin.name}")
    check_files(plugin)


def check_files(plugin: Found) -> None:
    """Compare the installed files with the hashes of RECORD, which pip writes when it installs.

    Raises:
        NotAllowed: one differs, or there is no RECORD.
    """
    files: list[Any] = list(PathDistribution(Path(plugin.folder)).files or [])
    if not files:
        raise NotAllowed(
            f"the plugin {plugin.name} cannot be trusted", "it has no RECORD of its files", "install it with pip"
        )
    for file in files:
        if file.hash is None:
            continue
        try:
            digest = hashlib.new(file.hash.mode, Path(file.locate()).read_bytes()).digest()
        except (OSError, ValueError) as error:
            raise NotAllowed(f"the plugin {plugin.name} is damaged", f"{file}: {error}", "install it again") from error
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            raise NotAllowed(
                f"the plugin {plugin.name} is not what was installed", f"{file} was changed", "install it again"
            )
