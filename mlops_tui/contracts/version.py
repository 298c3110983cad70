"""Versions of models: made from what lies in the store, moved between stages, searched."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mlops_tui.contracts.model import ModelName, ModelRef, Tags
from mlops_tui.contracts.operation import Done, Request, operation

STAGES = ("None", "Staging", "Production", "Archived")
"""MLflow's stages; aliases have replaced them, its clients still know them."""


class CreateVersion(Request, frozen=True):
    """A folder of files, or a place that only the caller knows, that becomes the next version of a model."""

    positional = ("name", "source")
    name: ModelName
    source: Annotated[str, Meta(min_length=1, description="runs:/RUN/PATH, models:/MODEL, or any URI")]
    run: Annotated[str, Meta(description="run that made it; default: that of the source")] = ""
    logged: Annotated[str, Meta(description="logged model that it is; default: that of the source")] = ""
    run_link: str = ""
    number: Annotated[int, Meta(ge=0, description="its number, beyond the last one; default, the next")] = 0
    description: str = ""
    tags: Tags = msgspec.field(default_factory=dict)


class MoveVersion(Request, frozen=True):
    """The stage that a version moves to."""

    positional = ("model", "stage")
    model: ModelRef
    stage: Annotated[str, Meta(description="None, Staging, Production or Archived")]
    archive: Annotated[bool, Meta(description="archive the versions that are in this stage now")] = False


class VersionMade(Done):
    """A version was made; its id, and its number among those of its model."""

    id: str
    version: int


create = operation(
    "version.create",
    CreateVersion,
    VersionMade,
    permission="model:register",
    effect="change",
    help="Make the next version of a model from a folder of files.",
    example="mlops version create employment runs:/train-v1/model",
)
stage = operation(
    "version.stage",
    MoveVersion,
    Done,
    permission="model:promote",
    effect="change",
    help="Move a version to one of MLflow's stages.",
    example="mlops version stage employment@1 Production",
)
