import os

import pytest

from mlops_tui.agent.ingest import Ingestor
from mlops_tui.contracts.operation import find
from mlops_tui.core.clock import now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import Wish, perform
from mlops_tui.spool.files import keep
from mlops_tui.spool.writer import Writer


def number(value):
    """Encode a base-128 number of protocol buffers."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(no, value):
    """Encode one field: a number, or bytes (a text, a message)."""
    if isinstance(value, int):
        return number(no << 3) + number(value)
    value = value.encode() if isinstance(value, str) else value
    return number(no << 3 | 2) + number(len(value)) + value


def tensor(name, *shape, dtype=1):
    """Encode a ValueInfoProto of a float tensor."""
    sizes = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, sizes)))


def onnx_bytes(width=3, metadata=None, weights=b"", extra=b""):
    """Return a valid ONNX model that gives back what it takes, written by hand."""
    node = field(1, "x") + field(2, "y") + field(4, "Identity")
    graph = (
        field(1, node)
        + field(2, "g")
        + weights
        + field(11, tensor("x", "n", width))
        + field(12, tensor("y", "n", width))
    )
    props = b"".join(field(14, field(1, k) + field(2, v)) for k, v in (metadata or {}).items())
    return field(1, 8) + field(7, graph) + field(8, field(2, 13)) + props + extra


class Desk:
    """What a test does with a house: make finished runs with artifacts, call operations."""

    def __init__(self, house):
        self.house, self.spool, self.onnx = house, house.home.spool, onnx_bytes
        self.ingestor = Ingestor(house)

    def train(self, name, model=None, *, gates=True, files=None, status="done", metrics=None, data="census@1"):
        """Make a run whose artifact is a model, with passed gates unless told otherwise; returns its id."""
        writer = Writer(self.spool, uuid7(), run={"experiment": "census", "name": name, "params": {"lr": name}})
        writer.metrics(metrics or {"auc": 0.7, "loss": 0.4}, 1)
        writer.dataset(data)
        content = onnx_bytes(metadata={"by": name}) if model is None else model
        for path, one in {"model.onnx": content, **(files or {})}.items():
            writer.artifact(path, *keep(writer.folder, one))
        if status != "running":
            writer.end(status)
        while self.ingestor.turn():
            continue
        if gates:
            self.gate(writer.owner, "quality")
        return writer.owner

    def gate(self, run, gate, passed=True, path="model.onnx", text="auc 0.7"):
        """Record a verdict, as the gate worker does."""
        [digest] = self.rows("SELECT digest FROM run_artifact WHERE run = ? AND path = ?", [run, path])[0]
        self.house.store.write(
            lambda s: s.insert(
                "gate_result", id=uuid7(), run_id=run, gate=gate, passed=passed, value=0.7, threshold=0.6, text=text,
                detail="{}", digest=digest, ts_us=now_us(),
            )
        )  # fmt: skip

    def call(self, name, wish=None, /, reason="", **request):
        """Go through the door as the owner of the home."""
        operation = find(name)
        caller = Caller("tester", os.getuid(), reason=reason)
        return perform(self.house, name, operation.request(**request), caller, wish)

    def plan(self, name, /, **request):
        """Ask for the plan of a change."""
        return self.call(name, Wish(dry_run=True), **request)

    def register(self, run, name="employment", **more):
        return self.call("model.register", name=name, run=run, **more)

    def rows(self, sql, params=()):
        return self.house.read(lambda session: session.rows(sql, params))

    def listed(self, noun, **request):
        table = self.call(f"{noun}.list", **request)
        return [dict(zip([column.name for column in table.columns], row, strict=True)) for row in table.rows]


@pytest.fixture
def desk(house):
    return Desk(house)


@pytest.fixture
def onnx_file():
    return onnx_bytes


@pytest.fixture
def proto():
    return field
