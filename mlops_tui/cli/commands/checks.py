"""What ``mlops doctor`` looks at: one function a matter. They read; they make and start nothing."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from mlops_tui import __version__
from mlops_tui.core.config import load
from mlops_tui.core.errors import MlopsError, from_record
from mlops_tui.core.paths import Home, home

SOCKET_LIMIT = 104
"""Bytes that a Unix socket's path may have: 108 on Linux, 104 on macOS, with its closing zero."""


@dataclass(frozen=True)
class Check:
    """One finding: ``ok``, ``warn`` or ``fail``, and for the last two what to do."""

    name: str
    state: str
    text: str
    fix: str = ""


def everything() -> list[Check]:
    """Return every finding; a check that fails itself is a finding too."""
    where = home()
    found: list[Check] = []
    for look in LOOKS:
        try:
            found += look(where)
        except MlopsError as error:
            found.append(Check(_name(look), "fail", " · ".join(filter(None, (error.what, error.why))), error.fix))
        except Exception as error:
            found.append(Check(_name(look), "warn", f"could not look: {type(error).__name__}: {error}"))
    return found


def _name(look: Callable[[Home], Iterator[Check]]) -> str:
    return look.__name__.replace("_", " ").strip()


def _python(_: Home) -> Iterator[Check]:
    good = sys.version_info >= (3, 11)
    text = f"{platform.python_version()} at {sys.executable}, mlops_tui {__version__}"
    yield Check("python", "ok" if good else "fail", text, "" if good else "install Python 3.11 or newer")


def _packages(_: Home) -> Iterator[Check]:
    wrong = [problem for problem in map(_wrong, _required("")) if problem]
    if wrong:
        yield Check("packages", "fail", "; ".join(wrong), "pip install --upgrade mlops_tui")
    else:
        yield Check("packages", "ok", f"{len(_required(''))} required, all there")
    for extra in ("train", "mlflow"):
        wrong = [problem for problem in map(_wrong, _required(extra)) if problem]
        missing = all("not installed" in problem for problem in wrong) if wrong else False
        hint = f"pip install 'mlops_tui[{extra}]'"
        if not wrong:
            yield Check(f"extra {extra}", "ok", "installed")
        elif missing:
            yield Check(f"extra {extra}", "ok", f"not installed; {hint} brings it")
        else:
            yield Check(f"extra {extra}", "warn", "; ".join(wrong), hint)


def _required(extra: str) -> list[str]:
    """Return our own requirements: those of the core, or those of one extra."""
    marked = [line.partition(";") for line in requires("mlops_tui") or []]
    if extra:
        return [need.strip() for need, _, marker in marked if re.search(rf"extra == ['\"]{extra}['\"]", marker)]
    return [need.strip() for need, _, marker in marked if "extra ==" not in marker]


def _wrong(requirement: str) -> str:
    """Return what is wrong with one requirement: missing, too old, or not the version that it is pinned to."""
    name, sign, wanted = re.split(r"(==|>=|$)", requirement, maxsplit=1)
    name = name.partition("[")[0].strip()
    if name == "mlops_tui":
        return ""
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} is not installed"
    if (sign == "==" and found.partition("+")[0] != wanted) or (sign == ">=" and _parts(found) < _parts(wanted)):
        return f"{name} is {found}, {sign}{wanted} is needed"
    return ""


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", text)[:3])


def _settings(where: Home) -> Iterator[Check]:
    load(where=where)
    there = where.config_file.exists()
    yield Check("settings", "ok", f"{where.config_file}{'' if there else ' is not there: defaults'}")


def _folders(where: Home) -> Iterator[Check]:
    for name, folder in (("data", where.data), ("state", where.state), ("cache", where.cache)):
        yield _folder(f"folder {name}", folder)


def _folder(name: str, folder: Path) -> Check:
    fix = "set MLOPS_HOME to a folder of your own"
    if not folder.exists():
        above = next(parent for parent in folder.parents if parent.exists())
        if os.access(above, os.W_OK | os.X_OK):
            return Check(name, "ok", f"{folder} is not there yet; it is made when needed")
        return Check(name, "fail", f"{folder} cannot be made: {above} is read-only", fix)
    found = folder.stat()
    if not folder.is_dir():
        return Check(name, "fail", f"{folder} is no folder", fix)
    if found.st_uid != os.getuid():
        return Check(name, "fail", f"{folder} belongs to uid {found.st_uid}", fix)
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check(name, "fail", f"{folder} cannot be written", fix)
    if stat.S_IMODE(found.st_mode) & 0o077:
        return Check(name, "warn", f"{folder} is open to others", f"chmod 700 {folder}")
    return Check(name, "ok", str(folder))


def _disk(where: Home) -> Iterator[Check]:
    from mlops_tui.core.figures import size

    there = next(folder for folder in (where.data, *where.data.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    state = "fail" if free < 100e6 else "warn" if free < 2e9 else "ok"
    yield Check("disk", state, f"{size(free)} free at {there}", "" if state == "ok" else "free some space")


def _encryption(where: Home) -> Iterator[Check]:
    from mlops_tui.keys.meta import read_meta

    meta = read_meta(where)
    if meta is None:
        mode = load(where=where).get("store.encryption")
        yield Check(
            "encryption", "ok" if mode == "on" else "warn", f"no store yet; a new one is made with encryption {mode}"
        )
    elif meta.encryption == "on":
        yield Check("encryption", "ok", f"on (AES-256-GCM), key {meta.key_id} from {meta.key_source}")
        yield from _key(where, meta.key_id, meta.key_source)
    else:
        yield Check(
            "encryption",
            "warn",
            "off: whoever can read this disk can read the store",
            "only a new store can be encrypted",
        )
    ours, theirs = (version(name) for name in ("duckdb", "duckdb-extension-httpfs"))
    same = ours == theirs
    fix = "" if same else f"pip install duckdb=={theirs}"
    yield Check("cipher", "ok" if same else "fail", f"duckdb {ours}, its cipher extension {theirs}", fix)


def _key(where: Home, key_id: str, source: str) -> Iterator[Check]:
    """Look whether the key is where ``store.meta`` says, without reading it."""
    if source == "file":
        path = where.keys / f"{key_id}.key"
        if not path.exists():
            yield Check("key", "fail", f"{path} is missing", "put it back from your copy of it")
        elif path.stat().st_mode & 0o077:
            yield Check("key", "fail", f"{path} is open to others", f"chmod 600 {path}")
        else:
            yield Check("key", "ok", f"{path}, readable only by you; keep a copy apart from backups")
    elif source == "env" and not os.environ.get("MLOPS_STORE_KEY"):
        yield Check("key", "fail", "MLOPS_STORE_KEY is not set", f"set it to key {key_id}")
    elif source == "credentials" and not os.environ.get("CREDENTIALS_DIRECTORY"):
        yield Check("key", "warn", "the key is a service credential, not visible here", "ask the service itself")


def _socket(where: Home) -> Iterator[Check]:
    length = len(os.fsencode(where.socket))
    if length >= SOCKET_LIMIT:
        yield Check(
            "socket",
            "fail",
            f"{where.socket} is {length} bytes long, too long",
            "set XDG_RUNTIME_DIR to a shorter path",
        )
        return
    runtime = where.runtime
    if runtime.exists() and (runtime.stat().st_uid != os.getuid() or runtime.stat().st_mode & 0o077):
        yield Check("socket", "fail", f"{runtime} is not yours alone", f"remove {runtime}")
        return
    yield Check("socket", "ok", str(where.socket))


def _agent(where: Home) -> Iterator[Check]:
    from mlops_tui.client import Client
    from mlops_tui.client.start import hello, refused
    from mlops_tui.contracts.operation import PROTOCOL

    found = hello(where, 2.0)
    if found is None and (reason := refused(where)).exists():
        error = from_record(json.loads(reason.read_text()))
        why = " · ".join(part for part in (error.what, error.why) if part)
        yield Check("agent", "fail", f"not running; the last one refused to start: {why}", error.fix)
        return
    if found is None:
        stale = where.socket.exists()
        yield Check(
            "agent", "ok", "not running; it starts when it is needed" + (" (a stale socket is there)" if stale else "")
        )
        return
    if found.version != __version__:
        serves = "serves us" if found.protocol in (PROTOCOL, PROTOCOL + 1) else "does not understand us"
        state = "warn" if serves == "serves us" else "fail"
        yield Check("agent", state, f"runs {found.version}, we are {__version__}; it {serves}", "mlops agent stop")
        return
    with Client(where, start=False, timeout=5.0) as client:
        status = client.call("agent.status")
    yield Check(
        "agent",
        "ok",
        f"running, pid {status.pid}, {status.rows_ingested:,} rows taken in, encryption {status.encryption}",
    )
    if status.quarantined:
        fix = 'mlops sql "select * from quarantine"'
        yield Check("spool", "warn", f"{status.quarantined} lines could not be read and were set aside", fix)


def _gpu(_: Home) -> Iterator[Check]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield Check("gpu", "ok", f"none: {error}")
        return
    try:
        names = [
            pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(pynvml.nvmlDeviceGetCount())
        ]
        yield Check("gpu", "ok", f"{len(names)}: {', '.join(map(str, names))}" if names else "none")
    finally:
        pynvml.nvmlShutdown()


def _terminal(_: Home) -> Iterator[Check]:
    size = shutil.get_terminal_size()
    encoding = (sys.stdout.encoding or "").lower()
    if not sys.stdout.isatty():
        yield Check("terminal", "ok", f"none here; output is {encoding}")
    elif "utf" not in encoding:
        yield Check("terminal", "warn", f"{encoding} cannot show every character", "export LC_ALL=C.UTF-8")
    elif size.columns < 80 or size.lines < 24:
        yield Check(
            "terminal",
            "warn",
            f"{size.columns}x{size.lines} is small for the TUI",
            "80x24 or more; mlops top --line fits",
        )
    else:
        yield Check("terminal", "ok", f"{size.columns}x{size.lines}, {os.environ.get('TERM', '?')}, {encoding}")


def _plugins(where: Home) -> Iterator[Check]:
    from mlops_tui.plugins.found import find_plugins
    from mlops_tui.plugins.trust import state_of

    states = {plugin.name: state_of(where, plugin) for plugin in find_plugins(where)}
    changed = [name for name, state in states.items() if state == "changed"]
    if changed:
        text = f"changed since they were trusted, so not loaded: {', '.join(changed)}"
        yield Check("plugins", "warn", text, f"mlops plugin trust {changed[0]}")
    else:
        told = ", ".join(f"{name} ({state})" for name, state in states.items())
        yield Check("plugins", "ok", told or "none installed")


LOOKS: tuple[Callable[[Home], Iterator[Check]], ...] = (
    _python,
    _packages,
    _settings,
    _folders,
    _disk,
    _encryption,
    _socket,
    _agent,
    _gpu,
    _terminal,
    _plugins,
)
