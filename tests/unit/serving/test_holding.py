"""Which memory file of a model a worker keeps, and what it lets go of."""

import os

import pytest

from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.models.holding import Holding


class Loaded:
    def __init__(self):
        self.condition, self.closed = {"engine": "onnx"}, False

    def close(self):
        self.closed = True


@pytest.fixture
def held():
    held = Holding(Deployment(deployment="d", name="m", spool=""))
    yield held
    held.in_use = ()
    held.forget()


def memory(content):
    fd = os.memfd_create("model")
    os.write(fd, content)
    return fd


def is_open(fd):
    return os.path.exists(f"/proc/self/fd/{fd}")


def test_a_file_that_changed_takes_the_place_of_the_old_one_and_of_its_model(held):
    old, new, model = memory(b"1"), memory(b"2"), Loaded()
    held.keep("a", old)
    held.models["a"] = model
    held.keep("a", new)
    assert held.files == {"a": new} and not is_open(old)
    held._loader.shutdown()
    assert model.closed and held.conditions() == {}


def test_the_same_file_again_changes_nothing(held):
    old = memory(b"1")
    again = os.dup(old)
    held.keep("a", old)
    held.models["a"] = Loaded()
    held.keep("a", again)
    assert held.files == {"a": old} and not is_open(again)
    assert held.conditions() == {"a": {"engine": "onnx"}}
    held.models.clear()


def test_what_is_in_use_is_neither_exchanged_nor_forgotten(held):
    old, new, other, idle = memory(b"1"), memory(b"2"), memory(b"3"), Loaded()
    held.keep("a", old)
    held.keep("b", other)
    held.models["b"] = idle
    held.in_use = {"a"}
    held.keep("a", new)
    held.forget()
    assert held.files == {"a": old} and is_open(old) and not is_open(new) and not is_open(other)
    held._loader.shutdown()
    assert idle.closed and not held.models
