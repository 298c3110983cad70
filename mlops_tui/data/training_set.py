"""Training sets: the features of many rows with label and groups, as one Parquet file that describes itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlops_tui.core.errors import BadInput, Refused
from mlops_tui.data.online.duck import literal, open_locked, place, plain, quote, register
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.schema import ask, probe

FEATURES_KEY = "mlops.features"
_WHEN = "mlops when"
PROBABILITY = "probability"


class Source(msgspec.Struct, frozen=True):
    """A file of raw rows, with the file of its labels where they came later."""

    data: Path
    labels: Path | None = None


class Written(msgspec.Struct, frozen=True):
    """What :func:`write` wrote; ``unlabelled`` rows have a null label."""

    path: Path
    rows: int
    unlabelled: int
    features_digest: str


class TrainingSet(msgspec.Struct, frozen=True):
    """A training set in memory.

    Attributes:
        ids: keys ``[n]``.
        x: features ``[n, F]`` float32; a null is NaN.
        label: label ``[n]`` float32; NaN where unknown; empty without a label column.
        groups: group columns by name, each ``[n]`` of str.
        features: the feature set, as :meth:`FeatureSet.record` gave it.
    """

    ids: NDArray[Any]
    x: NDArray[np.float32]
    label: NDArray[np.float32]
    groups: dict[str, NDArray[Any]]
    features: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Feature names in the order of ``x``."""
        return [definition["name"] for definition in self.features["features"]]

    def take(self, rows: NDArray[Any]) -> TrainingSet:
        """Return the rows of a mask or an index array as a set of its own."""
        label = self.label[rows] if len(self.label) else self.label
        groups = {name: values[rows] for name, values in self.groups.items()}
        return TrainingSet(self.ids[rows], self.x[rows], label, groups, self.features)


def write(features: FeatureSet, sources: Sequence[Source], out: Path, where: str = "") -> Written:
    """Compute the features of every row of the sources and write them with label and groups, ordered by key.

    Every row comes back exactly once, labelled or not; the same sources give the same bytes.

    Args:
        features: what to compute; its record travels in the file.
        sources: raw files; a key may occur in one of them only.
        out: the Parquet file, replaced as a whole.
        where: SQL condition on the raw rows.

    Raises:
        BadInput: a source cannot be read, or a cell not be turned into a feature.
        Refused: a key occurs twice, or a row has two labels.
    """
    files = [path for source in sources for path in (source.data, source.labels) if path]
    with _whole(out) as scratch, closing(open_locked([*files, scratch])) as con:
        rows = " UNION ALL BY NAME ".join(_labelled(con, features, source) for source in sources)
        select = features.select_sql(f"({rows})", features.carried, where)
        _copy(con, f"{select} ORDER BY {quote(features.file.key)}", scratch, features.record())
        _complain_about_doubles(con, features, scratch)
        counts = f"SELECT count(*), {_nulls(features)} FROM read_parquet({place(scratch)})"
        total, unlabelled = ask(con, counts, scratch)[0]
    return Written(out, total, unlabelled, features.digest)


def rows_of(
    features: FeatureSet, source: Path, time: str, default_us: int
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float32]]:
    """Return keys ``[n]``, when each row was true (µs UTC) and the features ``[n, F]`` of a raw file.

    Args:
        features: what to compute.
        source: the raw file.
        time: column that says when a row was true; empty: all were at ``default_us``.
        default_us: µs UTC, also of rows that do not say.

    Raises:
        BadInput: the file cannot be read, or a row has no key.
    """
    import duckdb

    with closing(open_locked([source])) as con:
        relation = probe(con, source).relation
        moment = f"epoch_us(CAST({quote(time)} AS TIMESTAMP))" if time else str(int(default_us))
        rows = f"(SELECT *, coalesce({moment}, {int(default_us)}) AS {quote(_WHEN)} FROM {relation})"
        try:
            found = con.execute(features.select_sql(rows, [_WHEN])).fetchnumpy()
        except duckdb.Error as error:
            raise BadInput("the features cannot be computed", plain(error), "mlops data check") from error
    keys = found[features.file.key]
    if np.ma.is_masked(keys):
        raise BadInput("the features cannot be computed", f"a row has no {features.file.key}")
    matrix = np.empty((len(keys), len(features.names)), np.float32)
    for at, name in enumerate(features.names):
        matrix[:, at] = np.ma.filled(found[name], np.nan)
    return np.asarray(keys), np.asarray(found[_WHEN], np.int64), matrix


def read(path: Path) -> TrainingSet:
    """Read a training set.

    Raises:
        BadInput: the file is not a training set.
    """
    found, record = _read_columns(path)
    return _as_set(found, record)


def write_evaluation(rows: TrainingSet, probability: NDArray[np.float32], path: Path) -> None:
    """Write what gates judge: held-out rows with features, label, groups and the model's probability ``[n]``."""
    label, key = rows.features["label"], rows.features["key"]
    columns = {key: rows.ids, label: rows.label, **rows.groups}
    columns |= {name: rows.x[:, at] for at, name in enumerate(rows.names)}
    columns[PROBABILITY] = np.asarray(probability, dtype=np.float32).reshape(-1)
    with _whole(path) as scratch, closing(open_locked([scratch])) as con:
        relation = register(con, "evaluation", columns)
        _copy(con, f"SELECT * FROM {relation}", scratch, rows.features)


def read_evaluation(path: Path) -> tuple[TrainingSet, NDArray[np.float32]]:
    """Read held-out rows and the model's probabilities ``[n]`` as :func:`write_evaluation` wrote them.

    Raises:
        BadInput: the file is not an evaluation.
    """
    found, record = _read_columns(path)
    if PROBABILITY not in found:
        raise BadInput(f"{path.name} is not an evaluation", f"it has no column {PROBABILITY}")
    return _as_set(found, record), np.ma.filled(found[PROBABILITY], np.nan)


def _read_columns(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    with closing(open_locked([path])) as con:
        probe(con, path)
        entries = ask(
            con, f"SELECT value FROM parquet_kv_metadata({place(path)}) WHERE key = {literal(FEATURES_KEY)}", path
        )
        if not entries:
            raise BadInput(f"{path.name} is not a training set", "it names no features", "mlops feature training-set")
        return con.execute(f"SELECT * FROM read_parquet({place(path)})").fetchnumpy(), msgspec.json.decode(
            entries[0][0]
        )


def _as_set(found: dict[str, NDArray[Any]], record: dict[str, Any]) -> TrainingSet:
    names = [definition["name"] for definition in record["features"]]
    x = np.stack([np.ma.filled(found[name], np.nan) for name in names], axis=1).astype(np.float32, copy=False)
    label = np.ma.asarray(found.get(record["label"], np.empty(0)), dtype=np.float32)
    groups = {name: np.asarray(found[name]).astype(str) for name in record["groups"] if name in found}
    return TrainingSet(np.asarray(found[record["key"]]), x, np.ma.filled(label, np.nan), groups, record)


def _labelled(con: Any, features: FeatureSet, source: Source) -> str:
    """Return the SQL of a source's rows with a label column: its own, its labels file's, or nulls."""
    label, key = features.file.label, quote(features.file.key)
    table = probe(con, source.data)
    names = {column.name for column in table.columns}
    for wanted in (features.file.key, *features.inputs, *features.file.groups):
        if wanted not in names:
            raise BadInput(f"{source.data.name} has no column {wanted}", f"its columns are {', '.join(sorted(names))}")
    if not label or label in names:
        return f"SELECT * FROM {table.relation}"
    if source.labels is None:
        return f"SELECT *, NULL AS {quote(label)} FROM {table.relation}"
    other = probe(con, source.labels).relation
    twice = ask(con, f"SELECT {key} FROM {other} GROUP BY {key} HAVING count(*) > 1 LIMIT 1", source.labels)
    if twice:
        raise Refused(f"{source.labels.name} has two labels for {features.file.key} {twice[0][0]}", "", "keep one")
    return f"SELECT d.*, l.{quote(label)} FROM {table.relation} AS d LEFT JOIN {other} AS l ON d.{key} = l.{key}"


def _copy(con: Any, select: str, path: Path, features: dict[str, Any]) -> None:
    import duckdb

    record = msgspec.json.encode(features).decode()
    try:
        con.execute(
            f"COPY ({select}) TO {literal(path.absolute())} (FORMAT parquet, COMPRESSION zstd,"
            f" KV_METADATA {{{quote(FEATURES_KEY)}: {literal(record)}}})"
        )
    except duckdb.Error as error:
        raise BadInput("the training set cannot be computed", plain(error), "mlops data check") from error


def _nulls(features: FeatureSet) -> str:
    label = features.file.label
    return f"count(*) FILTER (WHERE {quote(label)} IS NULL)" if label else "0"


def _complain_about_doubles(con: Any, features: FeatureSet, path: Path) -> None:
    key = quote(features.file.key)
    again = f"SELECT {key} FROM read_parquet({place(path)}) GROUP BY {key} HAVING count(*) > 1 LIMIT 1"
    if twice := ask(con, again, path):
        raise Refused(f"{features.file.key} {twice[0][0]} occurs twice in the sources", "", "give each row once")


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """Yield a scratch file that becomes ``out``, durably, when the block ends well; else nothing is left of it."""
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        yield scratch
        descriptor = os.open(scratch, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        scratch.replace(out)
    finally:
        scratch.unlink(missing_ok=True)
