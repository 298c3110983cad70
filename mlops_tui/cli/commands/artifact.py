"""``mlops artifact get`` and ``put``: files between this machine and the store, of any size."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from mlops_tui.cli.calls.call import connect
from mlops_tui.cli.options import Wishes
from mlops_tui.client import Client
from mlops_tui.client.files import download, upload
from mlops_tui.contracts.artifact import Entries, Folder, listed
from mlops_tui.core.errors import BadInput, Conflict, MlopsError, NotFound

OF = Annotated[str, typer.Argument(help="run, logged model, model@version, or an address")]


def get(
    ctx: typer.Context,
    of: OF,
    path: Annotated[str, typer.Argument(help="file or folder; default, all")] = "",
    target: Annotated[str, typer.Argument(help="where it goes; - is stdout, default its own name here")] = "",
) -> None:
    """Copy a file or a folder of artifacts here.

    Nothing that is here is replaced; a file that comes only in part is not kept.

    Example: mlops artifact get train-v1 model/model.onnx
    """
    wishes: Wishes = ctx.obj
    with connect(wishes) as client:
        top, names = _found(client, of, path.strip("/"))
        if target == "-":
            if names != [path.strip("/")]:
                raise BadInput(f"{path or of} is a folder", "a folder does not go to stdout", "name one of its files")
            for piece in download(client, f"{top}/{names[0]}"):
                sys.stdout.buffer.write(piece)
            return
        into = Path(target or path.rstrip("/").rpartition("/")[2] or of.rpartition("/")[2].replace(":", "-"))
        for name in names:
            inside = name.removeprefix(path.strip("/")).strip("/")
            _write(client, f"{top}/{name}", into / inside if inside else into)
        if not wishes.quiet:
            print(f"{len(names)} file{'s' * (len(names) != 1)} in {into}", file=sys.stderr)


def put(
    ctx: typer.Context,
    of: OF,
    file: Annotated[str, typer.Argument(help="file of this machine")],
    path: Annotated[str, typer.Argument(help="its path among the artifacts; default, its name")] = "",
) -> None:
    """Keep a file of this machine among the artifacts of a run or a logged model.

    Example: mlops artifact put train-v1 roc.png plots/roc.png
    """
    wishes: Wishes = ctx.obj
    source = Path(file).expanduser()
    with _opened(source) as content, connect(wishes) as client:
        found = client.call(listed, Folder(of=of))
        upload(client, f"{found.address}/{path or source.name}", content)
        if not wishes.quiet:
            print(f"{found.address}/{path or source.name}", file=sys.stderr)


def _found(client: Client, of: str, path: str) -> tuple[str, list[str]]:
    """Return the address of an owner's top, and the paths of the files that are meant.

    Raises:
        NotFound: nothing lies there.
    """
    folder = path.rpartition("/")[0]
    found = client.call(listed, Folder(of=of, place=folder))
    if path and any(one.path == path and not one.folder for one in found.entries):
        return found.address, [path]
    names = list(_below(client, of, client.call(listed, Folder(of=of, place=path))))
    if not names:
        raise NotFound(f"{of} has no artifact {path}".rstrip(), "", f"mlops artifact list {of}")
    return found.address, names


def _below(client: Client, of: str, found: Entries) -> Iterator[str]:
    for one in found.entries:
        if one.folder:
            yield from _below(client, of, client.call(listed, Folder(of=of, place=one.path)))
        else:
            yield one.path


def _write(client: Client, address: str, target: Path) -> None:
    """Write a file whole or not at all, where nothing lies.

    Raises:
        Conflict: something lies there.
        MlopsError: it cannot be written.
    """
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(scratch, "xb") as file:
            for piece in download(client, address):
                file.write(piece)
        os.link(scratch, target)
    except FileExistsError as error:
        raise Conflict(f"{target} exists", "", "give another name as the last word") from error
    except OSError as error:
        raise MlopsError(f"cannot write {target}", str(error.strerror or error), "give another place") from error
    finally:
        scratch.unlink(missing_ok=True)


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():
        raise BadInput(f"{path} is no file", "" if path.exists() else "there is nothing of that name", "give a file")
    try:
        return open(path, "rb")
    except OSError as error:
        raise MlopsError(f"cannot read {path}", str(error.strerror), "") from error
