"""The records of a spool file, one type an event, as the reader hands them on.

Every line carries ``"v":1``, its event ``"e"`` and its time ``"t"`` in microseconds since the epoch. Decoding
is strict: a missing field, a wrong type, an unknown event or another version is an error of that line alone.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

Stamp = Annotated[int, Meta(ge=0, lt=253_402_300_800_000_000)]  # before the year 10000: every date library copes
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=1000)]
Word = Literal["NaN", "Infinity", "-Infinity"]


class Event(Struct, tag_field="e", kw_only=True):
    """What all records share; ``o`` is the owner where a file has several."""

    t: Stamp
    v: Literal[1] = 1
    o: str = ""


class Process(Struct, kw_only=True):
    """Who wrote: see :mod:`mlops_tui.spool.process`."""

    host: str
    boot: str
    pid: int
    created: int


class RunFacts(Struct, kw_only=True):
    """What was known of a run at its start; parameters and tags in the order they were given."""

    experiment: str = ""
    name: str | None = None
    parent: str | None = None
    fork: str = ""
    fork_step: int | None = None
    kind: str = "train"
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    env: dict[str, Any] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    actor: str = ""


class Start(Event, tag="start", kw_only=True):
    """A process began to write for this owner. A second one for the same owner resumes it."""

    owner: str
    kind: Literal["run", "job", "label"]
    process: Process
    run: RunFacts | None = None
    job: dict[str, Any] | None = None


class Param(Event, tag="param", kw_only=True):
    """Parameters, in the order they were given."""

    p: dict[Name, str]


class Tag(Event, tag="tag", kw_only=True):
    """Tags."""

    g: dict[Name, str]


class Metric(Event, tag="m", kw_only=True, gc=False):
    """Metrics of one step; what JSON has no number for stands in ``x``. Handed on as :class:`.reader.Points`."""

    s: Int64
    m: dict[Name, float] = field(default_factory=dict)
    x: dict[Name, Word] | None = None


class Batch(Event, tag="mb", kw_only=True):
    """Metrics of many steps by columns: point n is ``m[n]`` of the metric ``k[i[n]]`` at step ``s[n]``, time ``ts[n]``.

    What JSON has no number for stands in ``x`` under its n. Handed on as :class:`.reader.Points`.
    """

    k: list[Name]
    i: list[Annotated[int, Meta(ge=0)]]
    ts: list[Stamp]
    s: list[Int64]
    m: list[float]
    x: dict[str, Word] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse columns that do not fit each other."""
        n = len(self.i)
        if {len(self.ts), len(self.s), len(self.m)} != {n} or (n and max(self.i) >= len(self.k)):
            raise ValueError("the columns of a batch do not fit each other")
        if any(not place.isdecimal() or int(place) >= n for place in self.x):
            raise ValueError("a batch names a point that it does not have")


class Heartbeat(Event, tag="hb", kw_only=True):
    """A sign of life."""


class Log(Event, tag="log", kw_only=True):
    """A piece of program output."""

    l: str  # noqa: E741  # the name of the format
    o: Literal["out", "err"] = "out"


class Artifact(Event, tag="artifact", kw_only=True):
    """A file was kept: ``path`` is its name in the run.

    ``file`` is where it lies now, to be checked with ``files.kept_file``; or its content is among the blobs already, as
    that of a client's upload is, and ``digest`` names it.
    """

    path: str
    file: str = ""
    digest: str = ""
    size: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Dataset(Event, tag="data", kw_only=True):
    """A data set version was used. The second part is what MLflow clients say of it.

    ``once``: what is said of the same version later, another context even, says nothing, as their server has it.
    """

    name: str
    digest: str = ""
    context: str = ""
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    once: bool = False


class UsedModel(Event, tag="model", kw_only=True):
    """A logged model was read (``in``) or made (``out``)."""

    model: str
    way: Literal["in", "out"]
    step: Int64 = 0


class Measure(Event, tag="measure", kw_only=True):
    """Figures of a logged model, as this run measured them, perhaps on a data set."""

    model: str
    s: Int64
    m: dict[Name, float] = field(default_factory=dict)
    x: dict[Name, Word] | None = None
    dataset: str = ""
    digest: str = ""


class Label(Event, tag="label", kw_only=True):
    """The truth of one row of an earlier request."""

    id: str
    row: Int64
    y: float


class End(Event, tag="end", kw_only=True):
    """The owner ended. ``exit`` 75 with status ``killed`` means preempted: please run it again."""

    status: Literal["done", "failed", "killed"]
    exit: int | None = None
    error: str = ""


Record = Start | Param | Tag | Metric | Batch | Heartbeat | Log | Artifact | Dataset | UsedModel | Measure | Label | End
