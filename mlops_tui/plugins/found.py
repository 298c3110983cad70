"""Which plugins are installed: found by their entry points, never imported to be listed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from mlops_tui.core.errors import MlopsError, NotFound
from mlops_tui.core.paths import Home, private_dir

GROUP = "mlops_tui.plugins"


@dataclass(frozen=True)
class Found:
    """An installed plugin: its distribution, and one module a side."""

    name: str
    version: str
    summary: str
    modules: dict[str, str]
    """Module by side: ``agent``, ``worker`` or ``screen``."""
    folder: str
    """Its ``.dist-info`` folder."""

    @property
    def digest(self) -> str:
        """SHA-256 of its RECORD, the list of its files and their hashes; empty when it has none."""
        try:
            return hashlib.sha256(Path(self.folder, "RECORD").read_bytes()).hexdigest()
        except OSError:
            return ""


def find_plugins(home: Home) -> list[Found]:
    """Return the installed plugins by name.

    Looking through every distribution takes a while (50 ms for 80 of them), so the result is kept under
    ``home.cache`` for as long as no folder of ``sys.path`` changes.
    """
    stamp = _stamp()
    cache = home.cache / "plugins.json"
    try:
        kept = json.loads(cache.read_bytes())
        if kept["stamp"] == stamp:
            return [Found(**one) for one in kept["plugins"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    plugins = _look()
    if not home.data.is_dir():
        return plugins  # nothing was set up here yet: looking must not be what does it
    try:
        private_dir(home.cache)
        new = cache.with_name(f".plugins-{os.getpid()}")
        new.write_text(json.dumps({"stamp": stamp, "plugins": [asdict(one) for one in plugins]}))
        new.replace(cache)
    except (OSError, MlopsError):
        pass  # a cache only: a read-only home must not keep plugins from being found
    return plugins


def find_plugin(home: Home, name: str) -> Found:
    """Return the installed plugin of that name.

    Raises:
        NotFound: there is none.
    """
    plugins = find_plugins(home)
    for plugin in plugins:
        if plugin.name == normal(name):
            return plugin
    installed = ", ".join(plugin.name for plugin in plugins) or "none"
    raise NotFound(f"no plugin {name!r} is installed", f"installed: {installed}", f"pip install {name}")


def normal(name: str) -> str:
    """Return a distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _look() -> list[Found]:
    from importlib.metadata import distributions

    plugins: dict[str, Found] = {}
    for one in distributions():
        modules = {entry.name: entry.value for entry in one.entry_points if entry.group == GROUP}
        if modules and (name := normal(one.metadata["Name"])) not in plugins:
            folder = str(getattr(one, "_path", ""))
            plugins[name] = Found(name, one.version, one.metadata["Summary"] or "", modules, folder)
    return [plugins[name] for name in sorted(plugins)]


def _stamp() -> list[list[str | int]]:
    stamp: list[list[str | int]] = []
    for folder in sys.path:
        try:
            stamp.append([folder, os.stat(folder or ".").st_mtime_ns])
        except OSError:
            continue
    return stamp
