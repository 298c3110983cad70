"""Logged models: what a run made, with parameters, tags and figures of its own, before anybody registers it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.model import Tags
from mlops_tui.contracts.operation import Answer, Done, Request, operation

STATUSES = ("pending", "ready", "failed")
LoggedRef = Annotated[str, Meta(description="id of a logged model, or the beginning or end of it, or its name")]


class OneLogged(Request, frozen=True):
    """Names a logged model."""

    positional = ("model",)
    model: LoggedRef
    deleted: Annotated[bool, Meta(description="also when it is deleted")] = False


class CreateLogged(Request, frozen=True):
    """A model that a run is about to write."""

    positional = ("experiment", "name")
    experiment: Annotated[str, Meta(description="name or id of the experiment")]
    name: Annotated[str, Meta(description="name; default: made up")] = ""
    kind: Annotated[str, Meta(description="what sort of model it is")] = ""
    run: Annotated[str, Meta(description="run that makes it")] = ""
    params: Annotated[dict[str, str], Meta(description="key=value …")] = msgspec.field(default_factory=dict)
    tags: Tags = msgspec.field(default_factory=dict)


class FinishLogged(Request, frozen=True):
    """How the writing of a logged model ended."""

    positional = ("model", "status")
    model: LoggedRef
    status: Annotated[str, Meta(description="ready, failed or pending")] = "ready"


class ParamLogged(Request, frozen=True):
    """Parameters to note with a logged model; one that it has already stays."""

    positional = ("model", "params")
    model: LoggedRef
    params: Annotated[dict[str, str], Meta(description="key=value …")]


class TagLogged(Request, frozen=True):
    """Tags to set on a logged model, and tags to remove."""

    positional = ("model", "tags")
    model: LoggedRef
    tags: Tags = msgspec.field(default_factory=dict)
    remove: Annotated[list[str], Meta(description="keys of tags to remove")] = msgspec.field(default_factory=list)


class LoggedMetric(msgspec.Struct, kw_only=True):
    """A figure of a logged model, as one run measured it on one data set; ``ts`` in µs."""

    key: str
    value: float
    step: int
    ts: int
    run: str
    dataset: str = ""
    digest: str = ""


class Logged(Answer):
    """A logged model, whole; times in µs."""

    id: str
    name: str
    experiment: str
    kind: str
    status: str
    run: str
    created: int
    updated: int
    actor: str
    deleted: bool
    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[LoggedMetric]
    versions: list[str]


logged = listing("logged", "List logged models.", "mlops logged list 'status:ready'")
show = operation(
    "logged.show",
    OneLogged,
    Logged,
    help="Show a logged model: parameters, tags, figures, versions.",
    example="mlops logged show classifier",
)
create = operation(
    "logged.create",
    CreateLogged,
    Logged,
    effect="change",
    help="Begin a logged model; its files follow.",
    example="mlops logged create census classifier --run train-v1",
)
finish = operation(
    "logged.finish",
    FinishLogged,
    Logged,
    effect="change",
    help="Say how the writing of a logged model ended.",
    example="mlops logged finish classifier ready",
)
param = operation(
    "logged.param",
    ParamLogged,
    Done,
    effect="change",
    help="Note parameters of a logged model.",
    example="mlops logged param classifier depth=4",
)
tag = operation(
    "logged.tag",
    TagLogged,
    Done,
    effect="change",
    help="Set or remove tags of a logged model.",
    example="mlops logged tag classifier stage=candidate",
)
delete = operation(
    "logged.delete",
    OneLogged,
    Done,
    permission="run:delete",
    effect="change",
    help="Delete a logged model; it can be restored.",
    example="mlops logged delete classifier",
)
restore = operation(
    "logged.restore",
    OneLogged,
    Done,
    effect="change",
    help="Restore a deleted logged model.",
    example="mlops logged restore classifier",
)
