"""``mlops plugin new NAME``: the skeleton of a plugin, complete with its own test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlops_tui.cli.answers.render import render
from mlops_tui.plugins.skeleton import write_skeleton


def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="name of the package, for example mlops-energy")],
    folder: Annotated[str, typer.Option("--in", help="folder to write it into; default: here")] = ".",
) -> None:
    """Write the skeleton of a plugin that passes its own test.

    Example: mlops plugin new mlops-mine
    """
    root = Path(folder).expanduser().absolute() / name
    files = write_skeleton(root, name)
    facts = {
        "folder": str(root),
        "files": [str(path.relative_to(root)) for path in files],
        "next": f"cd {root} && pip install -e . && python -m pytest && mlops plugin trust {name}",
    }
    render(facts, "plugin.new", ctx.obj)
