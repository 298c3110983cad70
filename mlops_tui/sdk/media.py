"""What a run keeps besides numbers, made into the bytes of a file: text, documents, tables, images, figures, matrices.

A table is ``{"columns": […], "data": [[…], …]}`` (a row a list), as MLflow writes it; a confusion matrix is
``{"kind": "confusion_matrix", "labels": […], "matrix": [[…], …]}`` with a row for each true class. Screens know both.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS = 100_000_000
"""An image with more of them is refused."""


def document(value: Any, path: str) -> bytes:
    """Return a value as YAML where the name ends so, else as JSON.

    Raises:
        TypeError: it is neither.
    """
    if PurePosixPath(path).suffix.lower() in (".yaml", ".yml"):
        import yaml

        try:
            return yaml.safe_dump(_plain(value), allow_unicode=True, sort_keys=False).encode()
        except yaml.YAMLError as error:
            raise TypeError(str(error)) from error
    return _json(value)


def table(data: Any) -> bytes:
    """Return a table as JSON.

    Args:
        data: a data frame (pandas, polars), a mapping of names to columns, or a sequence of mappings, one a row.

    Raises:
        TypeError: it is none of these.
        ValueError: its columns have different lengths.
    """
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        columns = [str(name) for name in data.columns]
        rows = data.rows() if hasattr(data, "rows") else data.to_numpy().tolist()
    elif isinstance(data, Mapping):
        columns = [str(name) for name in data]
        rows = list(zip(*(_column(values) for values in data.values()), strict=True))
    elif isinstance(data, Sequence) and all(isinstance(row, Mapping) for row in data):
        names = list(dict.fromkeys(name for row in data for name in row))
        columns, rows = [str(name) for name in names], [[row.get(name) for name in names] for row in data]
    else:
        raise TypeError(f"a {type(data).__name__} is no table: give a data frame, columns by name, or rows by name")
    return _json({"columns": columns, "data": [list(row) for row in rows]})


def image(picture: Any) -> bytes:
    """Return a picture as PNG.

    Args:
        picture: an array [height, width] or [height, width, 1, 3 or 4], or with its channels first (torch), of bytes
            or of numbers between 0 and 1; or an image of PIL.

    Raises:
        ValueError: it has another shape.
    """
    if hasattr(picture, "save") and hasattr(picture, "mode"):
        sink = io.BytesIO()
        picture.save(sink, format="PNG")
        return sink.getvalue()
    pixels = _pixels(_array(picture))
    height, width, channels = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    colours = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(*part) for part in parts)


def figure(drawn: Any, path: str) -> bytes:
    """Return a figure of matplotlib (in the format that the name says, default PNG) or of plotly (HTML or JSON).

    Raises:
        TypeError: it is neither.
    """
    suffix = PurePosixPath(path).suffix.lower().lstrip(".")
    if hasattr(drawn, "savefig"):
        sink = io.BytesIO()
        drawn.savefig(sink, format=suffix or "png", bbox_inches="tight")
        return sink.getvalue()
    if hasattr(drawn, "to_html") and hasattr(drawn, "to_json"):
        text: str = drawn.to_json() if suffix == "json" else drawn.to_html(include_plotlyjs="cdn")
        return text.encode()
    raise TypeError(f"a {type(drawn).__name__} is no figure of matplotlib or plotly")


def confusion(truth: Any, predicted: Any = None, labels: Sequence[Any] | None = None) -> bytes:
    """Return a confusion matrix as JSON.

    Args:
        truth: true classes, or the square matrix itself (a row for each true class) without ``predicted``.
        predicted: predicted classes, as many.
        labels: classes in order; default, all that occur, sorted. Where the classes are 0, 1, … these are their names.

    Raises:
        ValueError: lengths differ, the matrix is not square, or a class is not among the labels.
    """
    if predicted is None:
        matrix = _array(truth).tolist()
        if not matrix or any(not isinstance(row, list) or len(row) != len(matrix) for row in matrix):
            raise ValueError("a confusion matrix is square")
        names = list(labels) if labels is not None else list(range(len(matrix)))
    else:
        pairs = list(zip(_column(truth), _column(predicted), strict=True))
        classes = {one for pair in pairs for one in pair}
        names = list(labels) if labels is not None else sorted(classes, key=_order)
        place = {name: at for at, name in enumerate(names)}
        if classes <= set(range(len(names))) and not classes & place.keys():
            place = {at: at for at in range(len(names))}
        for strange in classes - place.keys():
            raise ValueError(f"{strange!r} is not among the labels")
        matrix = [[0] * len(names) for _ in names]
        for true, said in pairs:
            matrix[place[true]][place[said]] += 1
    if len(names) != len(matrix):
        raise ValueError(f"{len(names)} labels for {len(matrix)} classes")
    return _json({"kind": "confusion_matrix", "labels": [str(name) for name in names], "matrix": matrix})


def stepped(path: str, step: int | None) -> str:
    """Return the name of the file of one step: ``masks.png`` at step 7 is ``masks-000007.png``."""
    if step is None:
        return path
    name = PurePosixPath(path)
    return str(name.with_name(f"{name.stem}-{int(step):06d}{name.suffix}"))


def _order(value: Any) -> tuple[bool, Any]:
    """Sort numbers before words."""
    return isinstance(value, str), value


def _column(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _array(value: Any) -> NDArray[Any]:
    import numpy as np

    for step in ("detach", "cpu"):  # a tensor of torch, perhaps with a gradient and on a GPU
        value = getattr(value, step)() if hasattr(value, step) else value
    return np.asarray(value)


def _pixels(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array [height, width, channels] of bytes."""
    import numpy as np

    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not 0 < array.size <= PIXELS:
        raise ValueError(f"an array of shape {array.shape} is no picture")
    if array.dtype.kind == "f":
        array = np.nan_to_num(np.clip(array, 0.0, 1.0)) * 255.0 + 0.5
    elif array.dtype.kind == "b":
        array = array * 255
    return np.ascontiguousarray(array, dtype=np.uint8)


def _part(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _plain(value: Any) -> Any:
    import orjson

    return orjson.loads(_json(value))


def _json(value: Any) -> bytes:
    import orjson

    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2
    return orjson.dumps(value, default=_other, option=options)


def _other(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
