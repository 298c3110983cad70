"""Artifacts: files of runs, logged models and model versions, by folder."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mlops_tui.contracts.operation import Answer, Done, File, Request, operation

ROOT = "mlflow-artifacts:/"
"""What the address of an artifact begins with, as MLflow writes it."""


class Folder(Request, frozen=True):
    """A folder or a file of something that keeps files."""

    positional = ("of", "place")
    of: Annotated[str, Meta(description="run, logged model, model@version, or an mlflow-artifacts:/ address")]
    place: Annotated[str, Meta(description="folder or file in it; empty: the top")] = ""


class Entry(msgspec.Struct, kw_only=True):
    """A file with its size in bytes, or a folder. ``path`` begins at the top."""

    path: str
    folder: bool
    size: int | None = None
    digest: str = ""


class Entries(Answer):
    """What lies in a folder, by name; ``address`` is that of its top."""

    address: str
    entries: list[Entry]


READ_AT_ONCE = 16 * 2**20
"""Bytes of a file that one answer carries at most."""


class ReadFile(Request, frozen=True):
    """A file, whole, or ``part`` for its beginning when it is larger than one answer carries."""

    positional = ("of", "path")
    of: Annotated[str, Meta(description="run, logged model, or an mlflow-artifacts:/ address")]
    path: Annotated[str, Meta(description="the file below it")]
    part: Annotated[bool, Meta(description="only the beginning of a file that is too large for one answer")] = False


class Content(File):
    """What is in a file; ``size`` is that of the whole file in bytes, also when only its beginning is here."""

    size: int
    digest: str


class KeepFile(Request, frozen=True):
    """A sealed blob that is to lie at a path."""

    of: str
    path: str
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(ge=0)]


listed = operation(
    "artifact.list", Folder, Entries, permission="run:read", help="List a folder of artifacts.",
    example="mlops artifact list train-v1",
)  # fmt: skip
read = operation(
    "artifact.read", ReadFile, Content, permission="run:read", help="Read a file for a screen.", internal=True
)
keep = operation(
    "artifact.keep", KeepFile, Done, permission="run:write", effect="append", help="Keep a file.", internal=True
)
delete = operation(
    "artifact.delete",
    Folder,
    Done,
    permission="run:delete",
    effect="change",
    help="Delete a file or a folder of artifacts.",
    example="mlops artifact delete train-v1 plots/roc.png",
)
