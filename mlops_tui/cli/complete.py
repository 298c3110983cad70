"""Completion: words from the table, names from a small file written after each list. No agent, no database."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

KEEP = 300
"""Names kept a noun, the newest first."""

NOUNS_OF: dict[str, tuple[str, ...]] = {
    "run": ("run",),
    "runs": ("run",),
    "job": ("job",),
    "data": ("data",),
    "labels": ("data",),
    "reference": ("data",),
    "parent": ("data",),
    "feature": ("feature",),
    "features": ("feature",),
    "deployment": ("deploy",),
    "rollout": ("deploy", "rollout"),
    "test": ("ab", "deploy"),
    "alert": ("alert",),
    "automation": ("automation",),
    "host": ("host",),
    "plugin": ("plugin",),
    "model": ("version", "model"),
    "champion": ("version",),
    "a": ("version",),
    "b": ("version",),
    "subject": ("version", "run", "data"),
    "experiment": ("experiment",),
}
"""Which nouns' names a field takes; ``base`` and ``other`` depend on the command."""


def names_for(noun: str, field: str) -> Callable[[click.Context, click.Parameter, str], list[str]] | None:
    """Return a completer for a field of a noun's command, or None to leave it to the shell."""
    if field in ("base", "other"):
        nouns: tuple[str, ...] = ("version",) if noun == "model" else (noun,)
    elif field == "name" and noun in ("identity", "deploy", "model"):
        nouns = (noun,)
    else:
        nouns = NOUNS_OF.get(field, ())
    if not nouns:
        return None

    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        known = _read()
        return [name for one in nouns for name in known.get(one, []) if name.startswith(incomplete)]

    return complete


def remember(noun: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Keep the names of a list for completion; silent when the cache cannot be written."""
    names = [name for row in rows if (name := _name(dict(zip(columns, row, strict=False))))]
    known = _read()
    merged = list(dict.fromkeys([*names, *known.get(noun, [])]))[:KEEP]
    if merged == known.get(noun):
        return
    try:
        path = _path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}-{os.getpid()}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({**known, noun: merged}, file)
        new.replace(path)
    except OSError:
        pass


def completion_options() -> list[click.Option]:
    """Return ``--install-completion`` and ``--show-completion`` of the root command."""
    return [
        click.Option(
            ["--install-completion"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda ctx, _, value: _install(ctx) if value else None,
            help="install completion for your shell",
        ),
        click.Option(
            ["--show-completion"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda ctx, _, value: _show(ctx) if value else None,
            help="print the completion script of your shell",
        ),
    ]


def _name(row: dict[str, Any]) -> str:
    """Return what a person would type for a row."""
    name = row.get("name") or row.get("model") or row.get("test")
    if name and row.get("version") is not None and "@" not in str(name):
        return f"{name}@{row['version']}"
    if name:
        return str(name)
    from mlops_tui.core.ids import short

    first = next(iter(row.values()), None)
    return short(str(first)) if first else ""


def _path() -> Path:
    from mlops_tui.core.paths import home

    return home().cache / "names.json"


def _read() -> dict[str, list[str]]:
    try:
        found = json.loads(_path().read_bytes())
        return {str(noun): [str(name) for name in names] for noun, names in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _script(ctx: click.Context) -> tuple[str, str]:
    """Return the user's shell and its completion script.

    Raises:
        BadInput: the shell is none that we know.
    """
    from click.shell_completion import get_completion_class

    from mlops_tui.core.errors import BadInput

    shell = Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(shell)
    if kind is None:
        raise BadInput(
            f"completion does not know the shell {shell or '(none)'!r}", "", "set SHELL to bash, zsh or fish"
        )
    script = str(kind(ctx.command, {}, "mlops", "_MLOPS_COMPLETE").source())
    # Click's script for fish ends what it says of a word at the first comma.
    return shell, script.replace('string split ","', 'string split --max 1 ","')


def _show(ctx: click.Context) -> None:
    click.echo(_script(ctx)[1])
    ctx.exit()


def _install(ctx: click.Context) -> None:
    shell, script = _script(ctx)
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path, hint = {
        "bash": (data / "bash-completion/completions/mlops", "it needs the package bash-completion"),
        "zsh": (Path.home() / ".zfunc/_mlops", "put 'fpath+=~/.zfunc; autoload -Uz compinit; compinit' into ~/.zshrc"),
        "fish": (config / "fish/completions/mlops.fish", ""),
    }[shell]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    print(f"completion for {shell} is in {path}; it works in the next shell", file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
    ctx.exit()
