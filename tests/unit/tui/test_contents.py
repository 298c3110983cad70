"""What is in a file, as cells."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.sdk import media
from mlops_tui.tui.drawing import png
from mlops_tui.tui.drawing.contents import confusion, is_picture, writer_of
from mlops_tui.tui.drawing.text import line, plain
from mlops_tui.tui.screens.runs.artifact import pixels_of
from mlops_tui.tui.widgets.picture import fitted, shades


def written(path, content, cells=80):
    return [plain(row) for row in writer_of(path, content)(cells)]


def picture(height=37, width=53):
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 40, (height, width))
    return np.stack([(x * 4) % 256, (y * 6 + noise) % 256, (x + y + noise) % 256], axis=2).astype(np.uint8)


def test_a_picture_of_the_sdk_is_read_as_it_was():
    assert (png.read(media.image(picture())) == picture()).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_pillow_writes_what_is_read_here(mode):
    image = pytest.importorskip("PIL.Image")
    if mode == "I;16":
        grey = (picture()[:, :, 1].astype(np.uint16) << 8) | 7
        made, expected = image.fromarray(grey), np.repeat(picture()[:, :, 1:2], 3, axis=2)
    else:
        made = image.fromarray(picture()).convert(mode)
        expected = np.asarray(made.convert("RGB"))
    sink = io.BytesIO()
    made.save(sink, format="PNG")
    assert (png.read(sink.getvalue()) == expected).all()


def test_what_is_clear_shows_the_paper():
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0] = (10, 20, 30, 255)
    read = png.read(media.image(clear))
    assert read[0, 0].tolist() == [10, 20, 30] and read[1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("content", [b"GIF89a", media.image(picture())[:200], b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_picture_says_so(content):
    with pytest.raises(BadInput):
        png.read(content)


def test_other_kinds_of_pictures_are_read_by_pillow():
    image = pytest.importorskip("PIL.Image")
    sink = io.BytesIO()
    image.fromarray(picture()).save(sink, format="JPEG")
    assert pixels_of(sink.getvalue()).shape == (37, 53, 3)
    with pytest.raises(BadInput, match="cannot be read"):
        pixels_of(b"nothing")


def test_a_picture_is_made_to_fit_by_means_and_keeps_its_proportions():
    chess = np.zeros((100, 200, 3), np.uint8)
    chess[:, 100:] = 200
    small = fitted(chess, 20, 40)
    assert small.shape == (10, 20, 3) and small[0, 0, 0] == 0 and small[-1, -1, 0] == 200
    assert fitted(np.full((1, 1, 3), 9, np.uint8), 10, 10).shape == (10, 10, 3)
    assert shades(small)[0] == " " * 10 + "▓" * 10


def test_a_confusion_matrix_has_shares_recall_precision_and_accuracy():
    content = media.confusion([[90, 10], [5, 95]], labels=["no", "yes"])
    rows = written("confusion_matrix.json", content)
    assert rows[0].split() == ["true", "╲", "predicted", "no", "yes", "recall"]
    assert "█" in rows[1] and rows[1].rstrip().endswith("90.0 %") and "10" in rows[1]
    assert "94.7 %" in rows[3] and "92.5 % accuracy" in rows[3]
    assert rows[-1] == "200 rows"


def test_a_matrix_that_is_not_square_is_refused():
    with pytest.raises(BadInput, match="no confusion matrix"):
        confusion(["a", "b"], [[1, 2]], 80)


def test_tables_align_their_figures():
    rows = written("table.json", media.table({"name": ["a", "bb"], "auc": [0.5, 0.91234]}))
    assert rows == ["name      auc", "a     0.50000", "bb    0.91234"]
    assert written("t.csv", b"name,n\nx,10\nyy,2\n") == ["name   n", "x     10", "yy     2"]


def test_documents_and_text_are_shown_as_they_are():
    assert written("a.json", json.dumps({"lr": 1}).encode()) == ["{", '  "lr": 1', "}"]
    assert written("broken.json", b"{not json") == ["{not json"]
    assert written("note.md", "# Überschrift\nrow".encode()) == ["# Überschrift", "row"]


def test_what_is_no_text_shows_its_first_bytes():
    rows = written("model.bin", bytes(range(250, 256)) + b"abc")
    assert "no text" in written("weights", b"ABC\0\x01")[0]
    assert "no text" in rows[0] and "fa fb fc" in rows[2] and rows[2].endswith("abc")


def test_pictures_are_told_by_their_names():
    assert is_picture("plots/ROC.PNG") and not is_picture("png.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'{"kind": "confusion_matrix"}'),
        ("a.json", b'{"kind": "confusion_matrix", "labels": ["a"], "matrix": [[1, 2]]}'),
        ("a.json", b'{"kind": "confusion_matrix", "labels": ["a", "b"], "matrix": [["x", 1], [1, 2]]}'),
        ("a.json", b'{"kind": "confusion_matrix", "labels": 5, "matrix": [[NaN]]}'),
        ("a.json", b'{"kind": "confusion_matrix", "labels": ["a"], "matrix": [[Infinity]]}'),
        ("a.json", b'{"columns": ["a"], "data": [1, 2]}'),
        ("a.json", b'{"columns": ["a"], "data": [{"a": 1}]}'),
        ("a.json", b"[" * 100_000 + b"]" * 100_000),
        ("a.csv", b'"' + b"x" * 200_000 + b'"'),
        ("a.csv", b"a\r\nb\rc"),
    ],
    ids=lambda value: value[:60].decode() if isinstance(value, bytes) else value,
)
def test_what_only_looks_like_a_table_is_shown_as_text(name, content):
    """Found by files of other programs that use the same words: the screen fell over them."""
    for cells in (1, 80):
        assert list(writer_of(name, content)(cells))


def test_classes_may_be_numbers():
    written = writer_of("a.json", b'{"kind": "confusion_matrix", "labels": [0, 1], "matrix": [[3, 1], [0, 2]]}')(80)
    assert "accuracy" in str(written)


def test_a_text_that_is_cut_within_a_letter_is_a_text():
    assert writer_of("a.txt", "größer ż".encode()[:-1])(80) == [line("größer ")]
