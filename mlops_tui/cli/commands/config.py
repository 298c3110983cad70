"""``mlops config``: settings in force with the file and line that set them, and writing one's own file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlops_tui.cli.answers.render import render
from mlops_tui.cli.commands.toml import line_of, with_value
from mlops_tui.cli.options import Wishes
from mlops_tui.core.config import SETTINGS, load
from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.core.paths import home, private_dir

Key = Annotated[
    str,
    typer.Argument(help="a setting, for example store.encryption", autocompletion=lambda: [s.key for s in SETTINGS]),
]


def show(
    ctx: typer.Context, origin: Annotated[bool, typer.Option("--origin", help="say where each value was set")] = False
) -> None:
    """Show every setting; --origin says where it was set.

    Order: flag, environment, project file (mlops.toml or [tool.mlops]), your own file, default.

    Example: mlops config show --origin
    """
    wishes: Wishes = ctx.obj
    rows: list[dict[str, Any]] = []
    for value in wishes.config.shown():
        row: dict[str, Any] = {"setting": value.setting.key, "value": value.value}
        rows.append(
            row | ({"origin": _place(value.origin, value.setting.key)} if origin else {"meaning": value.setting.help})
        )
    render({"settings": rows}, "config.show", wishes)


def get(ctx: typer.Context, key: Key) -> None:
    """Print one setting.

    Example: mlops config get theme
    """
    wishes: Wishes = ctx.obj
    _known(key)
    value = next(one for one in wishes.config.shown() if one.setting.key == key)
    if wishes.format == "table":
        print(str(value.value).lower() if isinstance(value.value, bool) else value.value)
        return
    origin = _place(value.origin, key)
    render({"setting": key, "value": value.value, "origin": origin}, "config.get", wishes)


def set_value(ctx: typer.Context, key: Key, value: Annotated[str, typer.Argument(help="the value")]) -> None:
    """Write a setting into your own file.

    The rest of the file, comments included, stays as it is.

    Example: mlops config set theme mlops-light
    """
    wishes: Wishes = ctx.obj
    _known(key)
    typed = load({key: value}).get(key)
    path = home().config_file
    try:
        text = path.read_text()
    except FileNotFoundError:
        text = ""
    new = with_value(text, key, typed)
    if wishes.dry_run:
        print(f"{path}: {key} = {typed!r}")
        return
    private_dir(path.parent)
    _write(path, new)
    now = next(one for one in load().shown() if one.setting.key == key)
    render({"setting": key, "value": now.value, "origin": _place(now.origin, key)}, "config.set", wishes)
    if now.origin != str(path):
        typer.echo(f"the new value does not count: {now.origin} comes first", err=True)


def _known(key: str) -> None:
    keys = [setting.key for setting in SETTINGS]
    if key not in keys:
        raise BadInput(f"there is no setting {key!r}", "there are " + ", ".join(keys), "mlops config show")


def _place(origin: str, key: str) -> str:
    """Return where a value was set: with its line, when that is a file."""
    try:
        with open(origin, encoding="utf-8") as file:
            line = line_of(file.read(), key)
    except OSError:
        return origin
    return f"{origin}:{line}" if line else origin


def _write(path: Any, text: str) -> None:
    """Replace a file whole, keeping its mode."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text)
        new.chmod(mode)
        new.replace(path)
    except OSError as error:
        raise MlopsError(f"cannot write {path}", str(error.strerror), "make its folder writable for you") from error
