"""Experiments: what runs belong to."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Request, operation

DEFAULT = "Default"
"""The experiment of runs that name none; its number is 0."""

ExperimentRef = Annotated[str, Meta(description="experiment name, number or id")]


class OneExperiment(Request, frozen=True):
    """Names an experiment."""

    positional = ("experiment",)
    experiment: ExperimentRef


class Experiment(Answer):
    """An experiment. Times are µs; ``place`` is where MLflow clients put artifacts, empty for the store itself."""

    id: str
    number: int
    name: str
    created: int
    updated: int
    place: str
    note: str
    deleted: bool
    tags: dict[str, str]
    runs: int


class CreateExperiment(Request, frozen=True):
    """A new experiment."""

    positional = ("name",)
    name: Annotated[str, Meta(min_length=1, max_length=500)]
    place: Annotated[str, Meta(description="where MLflow clients put artifacts; default, this store")] = ""
    tags: dict[str, str] = msgspec.field(default_factory=dict)


class ExperimentMade(Done):
    """An experiment was made; ``number`` is how MLflow clients name it."""

    id: str
    number: int


class RenameExperiment(Request, frozen=True):
    """Another name for an experiment."""

    positional = ("experiment", "name")
    experiment: ExperimentRef
    name: Annotated[str, Meta(min_length=1, max_length=500)]


class TagExperiment(Request, frozen=True):
    """Tags of an experiment to set and to remove."""

    positional = ("experiment", "tags")
    experiment: ExperimentRef
    tags: Annotated[dict[str, str], Meta(description="key=value …")] = msgspec.field(default_factory=dict)
    remove: Annotated[list[str], Meta(description="key of a tag to remove")] = msgspec.field(default_factory=list)


experiments = listing("experiment", "List experiments with their run counts and best figures.", "mlops experiment list")
show = operation(
    "experiment.show",
    OneExperiment,
    Experiment,
    help="Show an experiment with its tags.",
    example="mlops experiment show census",
)
create = operation(
    "experiment.create",
    CreateExperiment,
    ExperimentMade,
    effect="change",
    help="Make an experiment before its first run.",
    example="mlops experiment create churn",
)
rename = operation(
    "experiment.rename",
    RenameExperiment,
    Done,
    effect="change",
    help="Give an experiment another name.",
    example="mlops experiment rename churn churn-2026",
)
tag = operation(
    "experiment.tag",
    TagExperiment,
    Done,
    effect="change",
    help="Set or remove tags of an experiment.",
    example="mlops experiment tag churn team=growth",
)
delete = operation(
    "experiment.delete",
    OneExperiment,
    Done,
    effect="change",
    help="Delete an experiment and its runs; they can be restored.",
    example="mlops experiment delete churn",
)
restore = operation(
    "experiment.restore",
    OneExperiment,
    Done,
    effect="change",
    help="Restore a deleted experiment and its runs.",
    example="mlops experiment restore churn",
)
