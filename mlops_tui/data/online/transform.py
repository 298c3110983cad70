"""Feature definitions compiled to one SELECT, the same for training sets, replay and serving."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlops_tui.contracts.data import FeatureDef
from mlops_tui.core.errors import BadInput
from mlops_tui.core.jsonx import canonical
from mlops_tui.data.online.duck import open_locked, place, plain, quote, register
from mlops_tui.data.online.expressions import SQL_TYPES, check, compiled

Columns = Mapping[str, NDArray[Any]]
Rows = Sequence[Mapping[str, Any]]
_FLOATS = {"DOUBLE", "FLOAT", "REAL"}


class FeatureFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A feature file as it is written: columns by role, then the definitions.

    Attributes:
        entity: what one row is about; a definition may name its own.
        key: column that identifies a row.
        inputs: raw columns that expressions may read, with their DuckDB types.
        label: column that a model learns; empty: none.
        groups: columns by which fairness is judged; carried along, never inputs.
        forbidden: columns that no expression may read.
        features: the definitions.
    """

    key: str
    inputs: dict[str, str]
    features: list[FeatureDef]
    entity: str = ""
    label: str = ""
    groups: list[str] = []
    forbidden: list[str] = []


class FeatureSet:
    """Features in a fixed order, checked and compiled. Not to be shared across a fork."""

    def __init__(self, file: FeatureFile, picked: Sequence[str] = ()) -> None:
        """Check a feature file and take its features.

        Args:
            file: the definitions with the roles of the raw columns.
            picked: features to take, ``name`` (newest version) or ``name@2``, in this order; empty: the newest of all.

        Raises:
            BadInput: a definition is double, misnamed, impure, or reads a column that it may not read.
        """
        self.file = file
        _check_roles(file)
        self.definitions = tuple(_pick(file, picked))
        self._engine = open_locked(memory_mb=512)
        self.reads = check(self._engine, self.definitions, file.inputs, file.forbidden)
        self.inputs = tuple(c for c in file.inputs if any(c in used for used in self.reads.values()))

    @classmethod
    def load(cls, path: Path, picked: Sequence[str] = ()) -> FeatureSet:
        """Read a YAML feature file.

        Raises:
            BadInput: the file cannot be read or is not a feature file.
        """
        import yaml

        try:
            return cls(msgspec.convert(yaml.safe_load(path.read_text()), FeatureFile), picked)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
            raise BadInput(
                f"{path} is not a feature file", plain(error), "see sample_data/project/features.yaml"
            ) from error

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> FeatureSet:
        """Rebuild a set from :meth:`record`, e.g. out of a model's metadata."""
        return cls(msgspec.convert(record, FeatureFile))

    def record(self) -> dict[str, Any]:
        """Return the set as plain data that :meth:`from_record` takes: what travels with a model."""
        return {**msgspec.to_builtins(self.file), "features": [msgspec.to_builtins(d) for d in self.definitions]}

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, the order of the matrix's columns."""
        return tuple(d.name for d in self.definitions)

    @property
    def carried(self) -> tuple[str, ...]:
        """Columns that a training set carries beside the features: label and groups."""
        return tuple(c for c in (self.file.label, *self.file.groups) if c)

    @property
    def digest(self) -> str:
        """BLAKE3 of everything that decides the numbers: key, input types and definitions in order."""
        inputs = {name: self.file.inputs[name] for name in self.inputs}
        return _blake3([self.file.key, inputs, [d.digest for d in self.definitions]])

    def select_sql(self, source: str, keep: Sequence[str] = (), where: str = "") -> str:
        """Return the one SELECT: the key, ``keep`` as they are, then each feature as FLOAT.

        Args:
            source: what stands after FROM: a table, a view or a table function.
            keep: raw columns carried along.
            where: SQL condition on the raw rows.
        """
        casts = ", ".join(f"{_as_input(name, self.file.inputs[name])} AS {quote(name)}" for name in self.inputs)
        replace = f" REPLACE ({casts})" if casts else ""
        outputs = [quote(name) for name in (self.file.key, *keep)]
        outputs += [f"{compiled(d)} AS {quote(d.name)}" for d in self.definitions]
        condition = f" WHERE (\n{where}\n)" if where else ""
        return f"SELECT {', '.join(outputs)} FROM (SELECT *{replace} FROM {source}{condition})"

    def compute(self, source: Path | Columns | Rows) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Compute the features of raw rows.

        Args:
            source: a Parquet file, columns as numpy arrays (NaN and masked values are nulls), or rows as mappings.

        Returns:
            ``ids`` ``[n]`` and the matrix ``[n, features]`` of float32, both in the order of the rows; a null is NaN.
            Columns or rows without the key get row numbers from 0.

        Raises:
            BadInput: a column is missing, or a cell cannot be read as its column's type.
        """
        if isinstance(source, Path):
            con, relation = open_locked([source]), f"read_parquet({place(source)})"
        else:
            columns = self._columns(source)
            con = self._engine.cursor()
            relation = register(con, "raw_rows", columns)
        try:
            return self._fetch(con, relation)
        finally:
            con.close()

    def _fetch(self, con: Any, relation: str) -> tuple[NDArray[Any], NDArray[np.float32]]:
        import duckdb

        try:
            found = con.execute(self.select_sql(relation)).fetchnumpy()
        except duckdb.Error as error:
            raise BadInput("the features cannot be computed", plain(error), "mlops data check") from error
        ids = found[self.file.key]
        if np.ma.is_masked(ids):
            raise BadInput("the features cannot be computed", f"row {int(np.argmax(ids.mask))} has no {self.file.key}")
        matrix = np.empty((len(ids), len(self.definitions)), dtype=np.float32)
        for at, name in enumerate(self.names):
            matrix[:, at] = np.ma.filled(found[name], np.nan)
        return np.asarray(ids), matrix

    def _columns(self, source: Columns | Rows) -> dict[str, NDArray[Any]]:
        columns = dict(source) if isinstance(source, Mapping) else self._transposed(source)
        given = {name.casefold(): name for name in columns}
        missing = [name for name in self.inputs if name.casefold() not in given]
        if missing:
            raise BadInput(f"the rows have no column {missing[0]}", f"the features read {', '.join(self.inputs)}")
        kept = {name: _array(columns[given[name.casefold()]]) for name in self.inputs}
        rows = len(next(iter(kept.values()))) if kept else 0
        key = self.file.key
        kept[key] = _array(columns[key]) if key in columns else np.arange(rows)
        if any(len(column) != rows for column in kept.values()):
            raise BadInput("the columns differ in length", str({name: len(column) for name, column in kept.items()}))
        return kept

    def _transposed(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """Turn mappings into columns of objects; the SELECT casts each to its declared type, whatever it is."""
        keyed = bool(rows) and self.file.key in rows[0]
        columns: dict[str, NDArray[Any]] = {}
        for name in (*self.inputs, *([self.file.key] if keyed else [])):
            missing = next((at for at, row in enumerate(rows) if name not in row), None)
            if missing is not None:
                raise BadInput(f"row {missing} has no column {name}", f"the features read {', '.join(self.inputs)}")
            values = [row[name] for row in rows]
            columns[name] = np.array(values) if name == self.file.key else np.array(values, dtype=object)
        return columns


def _as_input(name: str, kind: str) -> str:
    """Return the SQL that reads a raw column as its declared type; a NaN is a null, as in numpy sources."""
    cast = f"CAST({quote(name)} AS {kind})"
    return f"nullif({cast}, 'NaN'::{kind})" if kind.upper() in _FLOATS else cast


def _array(column: Any) -> NDArray[Any]:
    return column if isinstance(column, np.ndarray) else np.asarray(column)


def _check_roles(file: FeatureFile) -> None:
    for column, kind in file.inputs.items():
        if not re.fullmatch(r"[A-Za-z]\w*( \w+)*(\(\d+(, ?\d+)?\))?", kind):
            raise BadInput(
                f"input {column} has the type {kind!r}", "that is no DuckDB type", "say DOUBLE, BIGINT, VARCHAR …"
            )
    hidden = {c.casefold() for c in (*file.forbidden, file.label, *file.groups) if c}
    for column in file.inputs:
        if column.casefold() in hidden:
            raise BadInput(
                f"{column} is an input", "it is also the label, a group or forbidden", "take it out of 'inputs'"
            )


def _pick(file: FeatureFile, picked: Sequence[str]) -> list[FeatureDef]:
    known: dict[tuple[str, int], FeatureDef] = {}
    taken = {c.casefold() for c in (file.key, file.label, *file.groups)}
    for raw in file.features:
        definition = _whole(file, raw)
        at = (definition.name, definition.version)
        if at in known:
            raise BadInput(f"feature {at[0]}@{at[1]} is defined twice", "", "give the newer one the next version")
        if definition.name in taken:
            raise BadInput(f"feature {definition.name} has the name of the key, label or a group", "", "rename it")
        known[at] = definition
    newest = {name: max(v for n, v in known if n == name) for name, _ in known}
    chosen = []
    for text in picked or list(newest):
        name, _, version = text.partition("@")
        at = (name, int(version) if version.isdigit() else newest.get(name, 0))
        if at not in known or (version and not version.isdigit()):
            raise BadInput(f"no feature {text}", f"there are {', '.join(newest)}", "mlops feature list")
        chosen.append(known[at])
    if not chosen:
        raise BadInput("the feature file defines no feature")
    return chosen


def _whole(file: FeatureFile, raw: FeatureDef) -> FeatureDef:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", raw.name):
        raise BadInput(f"feature name {raw.name!r} cannot be used", "names are small letters, digits and _, up to 63")
    if raw.version < 1 or raw.dtype not in SQL_TYPES:
        raise BadInput(
            f"feature {raw.name}@{raw.version} of dtype {raw.dtype!r} cannot be used",
            f"versions count from 1, a dtype is one of {', '.join(SQL_TYPES)}",
        )
    definition = msgspec.structs.replace(raw, expr=raw.expr.strip(), entity=raw.entity or file.entity, created=0)
    decisive = {part: getattr(definition, part) for part in ("name", "version", "entity", "dtype", "expr")}
    return msgspec.structs.replace(definition, digest=_blake3(decisive))


def _blake3(value: Any) -> str:
    import blake3

    return str(blake3.blake3(canonical(value)).hexdigest())
