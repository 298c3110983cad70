"""Settings and where each value came from: flag > environment > project file > user file > default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_tui.core.errors import BadInput
from mlops_tui.core.paths import Home, home


@dataclass(frozen=True)
class Setting:
    """One setting: its dotted key, default (whose type is the setting's type) and one line of help."""

    key: str
    default: str | int | float | bool
    help: str
    choices: tuple[str, ...] = ()

    @property
    def env(self) -> str:
        return "MLOPS_" + self.key.upper().replace(".", "_")


@dataclass(frozen=True)
class Value:
    """A setting's value now, and the origin that a person can go to and change."""

    setting: Setting
    value: Any
    origin: str


SETTINGS: tuple[Setting, ...] = (
    Setting("output", "table", "how results are printed", ("table", "json", "jsonl", "csv", "md", "plain")),
    Setting("user", "", "the name that acts; empty: the login name"),
    Setting("tenant", "default", "the tenant that new objects belong to"),
    Setting("environment", "local", "the environment badge; 'prod' asks to type the name before a change"),
    Setting("readonly", False, "hide and refuse every change"),
    Setting("store.encryption", "on", "encrypt a new store at rest", ("on", "off")),
    Setting("store.key_source", "", "force one key source for a new store; empty: the first that works"),
    Setting("agent.idle_exit_s", 600, "seconds without work after which the agent leaves; 0: never"),
    Setting("agent.memory_mb", 0, "memory limit of the store; 0: the smaller of 1 GB and 15 % of the machine"),
    Setting("agent.start_timeout_s", 15, "seconds to wait for a starting agent"),
    Setting("tracking.silence", 86_400, "seconds without a word after which a run of a far MLflow client is lost"),
    Setting("spool.max_bytes", 2_000_000_000, "bytes of inference log kept on disk before rows are dropped"),
    Setting("deploy.lease_s", 60, "seconds without an agent after which the traffic of a canary goes back to stable"),
    Setting("jobs.parallel", 1, "training jobs that may run at once without a GPU"),
    Setting("jobs.grace_s", 20, "seconds between asking a job to stop and killing it"),
    Setting("cost.cpu_hour", 0.0, "price of a processor hour; 0: no prices are shown"),
    Setting("cost.gpu_hour", 0.0, "price of a GPU hour"),
    Setting("cost.currency", "AED", "currency of the prices"),
    Setting("residency", "", "where data may live, as jurisdictions: 'AE' or 'AE,EU'; empty: not declared"),
    Setting("theme", "auto", "colours of the TUI", ("auto", "mlops-dark", "mlops-light", "ansi-dark", "ansi-light")),
    Setting("ascii", False, "draw with plain ASCII only, on the screens and on the command line"),
    Setting("keymap", "default", "key preset of the TUI", ("default", "vim", "emacs")),
)
_BY_KEY = {setting.key: setting for setting in SETTINGS}


class Config:
    """The settings in force. Read-only; made once a process by :func:`load`."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def get(self, key: str) -> Any:
        """Return a setting's value; the key must be one of ``SETTINGS``."""
        return self._values[key].value

    def shown(self) -> list[Value]:
        """Return every setting with its origin, in the order of ``SETTINGS``."""
        return [self._values[setting.key] for setting in SETTINGS]


def load(flags: Mapping[str, Any] | None = None, where: Home | None = None) -> Config:
    """Read every layer and return the settings in force.

    Args:
        flags: values given on the command line, by key.
        where: the folders to read the user file from; default, those of the environment.

    Raises:
        BadInput: a file is not TOML, or a value is not of its setting's type.
    """
    where = where or home()
    values = {s.key: Value(s, s.default, "default") for s in SETTINGS}
    for path, table in ((where.config_file, None), *_project_tables(Path.cwd())):
        for key, raw in _flatten(_read(path) if table is None else table).items():
            if key in _BY_KEY:
                values[key] = Value(_BY_KEY[key], _typed(_BY_KEY[key], raw, str(path)), str(path))
    for setting in SETTINGS:
        if (text := os.environ.get(setting.env)) is not None:
            values[setting.key] = Value(setting, _typed(setting, text, setting.env), f"environment {setting.env}")
    for key, raw in (flags or {}).items():
        values[key] = Value(_BY_KEY[key], _typed(_BY_KEY[key], raw, "flag"), "command line")
    return Config(values)


def _project_tables(start: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the nearest project file above ``start``: ``mlops.toml``, else ``[tool.mlops]``."""
    for folder in (start, *start.parents):
        own, pyproject = folder / "mlops.toml", folder / "pyproject.toml"
        if own.is_file():
            return [(own, _read(own))]
        if pyproject.is_file():
            table = _read(pyproject).get("tool", {}).get("mlops")
            if table is not None:
                return [(pyproject, table)]
    return []


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        import tomllib  # most homes have no such file, and every command starts here

        return tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise BadInput(f"{path.parent} is not a folder", "", "set MLOPS_HOME to a folder of your own") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read the configuration {path}", str(error), "mend or move the file") from error


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _typed(setting: Setting, raw: Any, origin: str) -> Any:
    kind = type(setting.default)
    try:
        if kind is bool and isinstance(raw, str):
            value: Any = {
                "1": True,
                "true": True,
                "yes": True,
                "on": True,
                "0": False,
                "false": False,
                "no": False,
                "off": False,
                "": False,
            }[raw.lower()]
        else:
            value = kind(raw)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{setting.key} = {raw!r} is not a {kind.__name__}", f"it was set by {origin}", "mlops config show --origin"
        ) from error
    if setting.choices and value not in setting.choices:
        raise BadInput(
            f"{setting.key} = {raw!r} is not one of {', '.join(setting.choices)}",
            f"it was set by {origin}",
            "mlops config show --origin",
        )
    return value
