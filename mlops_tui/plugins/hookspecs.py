"""What a plugin may bring. Each hook returns objects with a ``name``; each names the side on which it is asked.

Sides: ``agent`` (the one long-lived process: be quick, never block, have no pandas), ``worker`` (a process of its own
for long work) and ``screen`` (the terminal: no store, only calls through the door).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import pluggy

from mlops_tui.contracts.agent import Device
from mlops_tui.contracts.deploy import Deployment
from mlops_tui.contracts.model import GateResult, ModelVersion
from mlops_tui.contracts.monitor import Alert

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROJECT = "mlops_tui"
Side = Literal["agent", "worker", "screen"]
SIDES: tuple[Side, ...] = ("agent", "worker", "screen")
SIDE_OF: dict[str, Side] = {}
"""Where each hook is asked, by the hook's name."""
NOT_ASKED = frozenset(("mlops_registries",))
"""Hooks that are specified and asked by nobody yet; ``mlops plugin list`` says so of a plugin that brings them."""

hook = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's function as the answer to the hook of its name."""

_spec = pluggy.HookspecMarker(PROJECT)
_Function = TypeVar("_Function", bound=Callable[..., Any])


def asked_on(side: Side) -> Callable[[_Function], _Function]:
    """Declare a hook and its side."""

    def declare(function: _Function) -> _Function:
        SIDE_OF[function.__name__] = side
        return _spec(function)

    return declare


class Trainer(Protocol):
    """A way to run a training script, for example under a launcher of several processes."""

    name: str

    def command(self, script: str, args: Sequence[str]) -> list[str]:
        """Return the program and arguments to start; it must pass signals on and keep the environment."""


@dataclass(frozen=True)
class Candidate:
    """What a gate judges: a model on the rows it is evaluated on (n of them).

    Args:
        run: id of the run that made the model.
        labels: truth, shape (n,).
        scores: what the model says of each row, shape (n,): a probability for a classifier.
        columns: the raw columns by name, shape (n,) each: features, groups, ids.
        champion: the champion's scores on the same rows, shape (n,), or None when there is none to compare with.
        champion_note: why a champion that there is cannot be compared with.
        predict: scores for other rows, given all of the model's inputs by name.
        bounds: what the policy says for this gate.
        inputs: the model's inputs in its order, keys of ``columns``.
        groups: columns by which fairness is judged, keys of ``columns``.
        forbidden: what no decision may rest on: columns, and inputs that read them.
        model: the model as an ONNX file, where there is one.
    """

    run: str
    labels: NDArray[Any]
    scores: NDArray[Any]
    columns: Mapping[str, NDArray[Any]]
    champion: NDArray[Any] | None = None
    predict: Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]] | None = None
    bounds: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    groups: Sequence[str] = ()
    forbidden: Sequence[str] = ()
    model: Path | None = None
    champion_note: str = ""


class Gate(Protocol):
    """A condition that a model must meet before it is registered."""

    name: str

    def judge(self, candidate: Candidate) -> GateResult:
        """Return the verdict with its figure, its bound and a sentence that a person can act on."""


class DriftStatistic(Protocol):
    """A distance between reference and live traffic of one column, from counts alone."""

    name: str
    kinds: Sequence[str]
    """``numeric``, ``categorical`` or both."""

    def distance(self, reference: NDArray[Any], live: NDArray[Any], centres: NDArray[Any] | None) -> float | None:
        """Return the distance; None when it cannot be told.

        Args:
            reference: rows a cell, shape (k,); missing values are not among them.
            live: likewise of live traffic.
            centres: where each cell lies, ascending, in the column's unit; None for categories.
        """


@dataclass(frozen=True)
class Observed:
    """What a target sees of a deployment's servers.

    Args:
        ready: whether requests are answered.
        url: where, without a slash at its end; empty while nobody knows.
        epoch: of the routes that every server shows; -1 before the first.
        generation: likewise.
        refused: why the servers do not take the routes that were applied last; empty when they do, or may.
        text: a sentence on how they fare, for people.
    """

    ready: bool
    url: str = ""
    epoch: int = -1
    generation: int = -1
    refused: str = ""
    text: str = ""


class DeployTarget(Protocol):
    """A place where models are served.

    ``folder`` is the deployment's: ``deployment.json`` says what it is, ``routes.json`` who answers. Route sets are
    ordered by (epoch, generation); a target never shows an older one than it has shown. Every method may be called
    again at any time, also after a crash of the agent, and may take its time: none runs on the agent's own thread.
    ``mlops_tui.deploy.targets.contract.TargetContract`` holds the tests that every target passes.
    """

    name: str

    def prepare(self, deployment: Deployment, folder: Path) -> None:
        """Bring the servers up, or leave them when they run."""

    def apply(self, deployment: Deployment, folder: Path) -> None:
        """Have the servers show ``routes.json`` as it is now, with the models that it names; need not wait for them."""

    def observe(self, deployment: Deployment, folder: Path) -> Observed:
        """Look at the servers."""

    def logs(self, deployment: Deployment, folder: Path, lines: int) -> list[str]:
        """Return the last lines of the servers' log, at most so many."""

    def remove(self, deployment: Deployment, folder: Path) -> bool:
        """Let the servers finish what they have and end them; tell whether they are gone. Called until they are."""


class DeviceProbe(Protocol):
    """A kind of accelerator that can be watched."""

    name: str

    def devices(self) -> list[Device]:
        """Return the devices of this machine with their figures now, within 100 ms."""


class Notifier(Protocol):
    """A way to tell a person."""

    name: str

    def notify(self, alert: Alert) -> None:
        """Tell of an alert that opened or closed; what it raises is logged and tried again."""


class KeySource(Protocol):
    """A place of store keys, for example a key management service."""

    name: str

    def __call__(self, store_id: str, note: str) -> tuple[str, str] | None:
        """Return (32 bytes in base64, note), or None when this store is not its own; ``note`` is "" for a new store."""


class Registry(Protocol):
    """A registry of models that several machines share."""

    name: str

    def push(self, version: ModelVersion, file: Path) -> str:
        """Publish a version, once however often it is called; return where it is."""

    def versions(self, model: str) -> list[ModelVersion]:
        """Return what the registry has of a model, newest first."""

    def fetch(self, version: ModelVersion, to: Path) -> None:
        """Write a version's file to ``to``."""


class Panel(Protocol):
    """A panel of a screen."""

    name: str
    title: str
    mode: str
    """The mode that shows it: home, runs, data, models, deploy, drift, ab, hardware or govern."""

    async def lines(self, call: Callable[..., Awaitable[Any]], width: int) -> list[str]:
        """Return lines of plain text, at most ``width`` cells each; ``call(operation, request)`` asks the agent."""


@asked_on("agent")
def mlops_trainers() -> Iterable[Trainer]:  # type: ignore[empty-body]
    """Ways to run a training script."""


@asked_on("worker")
def mlops_gates() -> Iterable[Gate]:  # type: ignore[empty-body]
    """Conditions on a model."""


@asked_on("agent")
def mlops_drift_statistics() -> Iterable[DriftStatistic]:  # type: ignore[empty-body]
    """Distances between reference and live traffic."""


@asked_on("agent")
def mlops_deploy_targets() -> Iterable[DeployTarget]:  # type: ignore[empty-body]
    """Places where models are served."""


@asked_on("agent")
def mlops_device_probes() -> Iterable[DeviceProbe]:  # type: ignore[empty-body]
    """Accelerators that can be watched."""


@asked_on("agent")
def mlops_notifiers() -> Iterable[Notifier]:  # type: ignore[empty-body]
    """Ways to tell a person."""


@asked_on("agent")
def mlops_key_sources() -> Iterable[KeySource]:  # type: ignore[empty-body]
    """Places of store keys; asked before the store is open, also by job runners."""


@asked_on("agent")
def mlops_registries() -> Iterable[Registry]:  # type: ignore[empty-body]
    """Registries that several machines share. A spec only: asked from the issue "sync" on, until then by nobody."""


@asked_on("screen")
def mlops_panels() -> Iterable[Panel]:  # type: ignore[empty-body]
    """Panels of the screens."""
