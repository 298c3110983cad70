"""Tensors between a worker and a model's process."""

import json
import socket
import threading

import numpy as np
import pytest

from mlops_tui.serving.models.engine import wire


@pytest.fixture
def pair():
    one, two = socket.socketpair()
    one.settimeout(5)
    two.settimeout(5)
    yield one, two
    one.close()
    two.close()


def test_every_type_and_shape_comes_out_as_it_went_in(pair):
    given = {code: np.arange(6).reshape(2, 3).astype(code) for code in wire.DTYPES.values()}
    given |= {
        "words": np.array([["a", ""], ["é", None]], object), "none": np.zeros((0, 3), "f4"), "one": np.array(2.5),
        "turned": np.arange(6.0).reshape(2, 3).T, "big": np.arange(3, dtype=">f8"),
    }  # fmt: skip
    wire.send(pair[0], {"op": "run", "n": 1}, given)
    message, found = wire.receive(pair[1])
    assert message == {"op": "run", "n": 1} and list(found) == list(given)
    for name, array in given.items():
        assert found[name].shape == array.shape and (found[name] == array).all()
        assert wire.datatype(found[name]) == wire.datatype(array)
        found[name][...] = found[name]  # models write into what they are given


def test_a_message_larger_than_the_socket_s_buffer_goes_through(pair):
    big = {str(at): np.random.default_rng(at).random((500, 300)) for at in range(70)}
    sender = threading.Thread(target=wire.send, args=(pair[0], {"op": "run"}, big))
    sender.start()
    _, found = wire.receive(pair[1])
    sender.join()
    assert all((found[name] == array).all() for name, array in big.items())


def test_an_end_that_is_gone_or_silent_is_told(pair):
    pair[1].settimeout(0.01)
    with pytest.raises(TimeoutError):
        wire.receive(pair[1])
    head = json.dumps({"tensors": [["a", "FP32", [4], 16]]}).encode()
    pair[0].sendall(len(head).to_bytes(4, "little") + head + b"cut")
    pair[0].close()
    pair[1].settimeout(5)
    with pytest.raises(EOFError):
        wire.receive(pair[1])


def test_what_is_no_tensor_and_no_message_is_refused(pair):
    with pytest.raises(TypeError, match="complex128"):
        wire.send(pair[0], {}, {"a": np.zeros(1, complex)})
    pair[0].sendall(b"\xff\xff\xff\xff")
    with pytest.raises(EOFError):
        wire.receive(pair[1])
