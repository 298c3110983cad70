"""What a run keeps besides numbers: files that others can read, and never an exception."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

import mlops_tui as mlops
from mlops_tui.sdk import media


def test_texts_and_documents():
    assert json.loads(media.document({"a": np.float32(0.5), 1: [None, float("nan")]}, "d.json")) == {
        "a": 0.5,
        "1": [None, None],
    }
    assert media.document({"name": "é", "n": np.int64(3)}, "d.yaml").decode() == "name: é\nn: 3\n"


@pytest.mark.parametrize(
    "data",
    [
        {"x": [1, 2], "y": ["a", "b"]},
        {"x": np.array([1, 2]), "y": ("a", "b")},
        [{"x": 1, "y": "a"}, {"y": "b", "x": 2}],
    ],
)
def test_a_table_is_columns_and_rows(data):
    assert json.loads(media.table(data)) == {"columns": ["x", "y"], "data": [[1, "a"], [2, "b"]]}


def test_a_data_frame_is_a_table():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1.5, None], "y": ["a", "b"]})
    assert json.loads(media.table(frame)) == {"columns": ["x", "y"], "data": [[1.5, "a"], [None, "b"]]}


@pytest.mark.parametrize("data", [5, "text", {"x": [1], "y": [1, 2]}, [1, 2]])
def test_what_is_no_table(data):
    with pytest.raises((TypeError, ValueError)):
        media.table(data)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (3, 5, 7)])
@pytest.mark.parametrize("kind", ["bytes", "floats"])
def test_a_picture_is_read_back_as_it_was(shape, kind):
    pil = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    given = pixels if kind == "bytes" else pixels / 255.0
    back = np.asarray(pil.open(io.BytesIO(media.image(given))))
    expected = np.moveaxis(pixels, 0, 2) if shape == (3, 5, 7) else pixels
    np.testing.assert_array_equal(back, expected.squeeze() if shape[-1] == 1 else expected)
    assert media.image(pil.fromarray(back))[:4] == b"\x89PNG"


def test_numbers_outside_their_range_are_cut_and_flags_are_black_and_white():
    pil = pytest.importorskip("PIL.Image")
    back = pil.open(io.BytesIO(media.image(np.array([[-1.0, 0.5, 2.0, np.nan]]))))
    assert np.asarray(back).tolist() == [[0, 128, 255, 0]]
    assert np.asarray(pil.open(io.BytesIO(media.image(np.array([[True, False]]))))).tolist() == [[255, 0]]


@pytest.mark.parametrize("shape", [(5,), (5, 7, 2), (0, 7), (2, 3, 4, 5)])
def test_what_is_no_picture(shape):
    with pytest.raises(ValueError, match="no picture"):
        media.image(np.zeros(shape))


def test_a_confusion_matrix_from_classes_or_as_it_is():
    truth, said = ["cat", "dog", "cat", "dog"], np.array(["cat", "cat", "dog", "dog"])
    found = json.loads(media.confusion(truth, said))
    assert found == {"kind": "confusion_matrix", "labels": ["cat", "dog"], "matrix": [[1, 1], [1, 1]]}
    assert json.loads(media.confusion([0, 0, 1], [0, 1, 1], labels=[1, 0]))["matrix"] == [[1, 0], [1, 1]]
    named = json.loads(media.confusion([0, 0, 1], [0, 1, 1], labels=["cat", "dog"]))
    assert (named["labels"], named["matrix"]) == (["cat", "dog"], [[1, 1], [0, 1]])
    with pytest.raises(ValueError, match="0 is not among the labels"):
        media.confusion([0, 7], [0, 0], labels=["cat", "dog"])
    assert json.loads(media.confusion(np.eye(2, dtype=int), labels=["a", "b"]))["matrix"] == [[1, 0], [0, 1]]
    for wrong in (lambda: media.confusion([0], [0, 1]), lambda: media.confusion([0, 2], [0, 0], labels=[0, 1]),
                  lambda: media.confusion([[1, 2]]), lambda: media.confusion([[1]], labels=["a", "b"])):  # fmt: skip
        with pytest.raises(ValueError):
            wrong()


def test_figures_of_others():
    class Drawing:
        def savefig(self, sink, format, **_):
            sink.write(format.encode())

    class Plot:
        def to_html(self, **_):
            return "<html>"

        def to_json(self):
            return "{}"

    assert [media.figure(Drawing(), path) for path in ("a.svg", "a")] == [b"svg", b"png"]
    assert [media.figure(Plot(), path) for path in ("a.html", "a.json")] == [b"<html>", b"{}"]
    with pytest.raises(TypeError):
        media.figure(object(), "a.png")


def test_a_run_keeps_them_all_and_complains_once(events, capsys):
    with mlops.start_run("e"):
        mlops.log_text("words", "notes/a.txt")
        mlops.log_dict({"a": 1}, "a.json")
        mlops.log_table({"x": [1]})
        mlops.log_image(np.zeros((2, 2)), "mask.png", step=7)
        mlops.log_confusion_matrix([0, 1], [0, 1])
        mlops.log_figure(object())
        mlops.log_image("nothing")
    paths = [record.path for record in events().of("Artifact")]
    assert paths == ["notes/a.txt", "a.json", "table.json", "mask-000007.png", "confusion_matrix.json"]
    assert capsys.readouterr().err.count("could not be kept") == 1
