"""Schema and quality checks of a data file, compiled to one scan. Pure: knows no store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlops_tui.core.errors import BadInput, Refused
from mlops_tui.data.online.duck import literal, open_locked, plain, quote
from mlops_tui.data.schema import Table, ask, count_rows, probe

SAMPLES = 5
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_FLOATS = ("FLOAT", "DOUBLE")
_ROW = '"__row"'


class ColumnRule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What must hold for a column.

    Attributes:
        type: DuckDB type; cells of a text file must read as it.
        optional: the column may be missing.
        not_null: every row has a value.
        min: smallest value allowed.
        max: largest value allowed.
        allowed: the values allowed.
        pattern: regular expression that the whole value matches.
    """

    type: str
    optional: bool = False
    not_null: bool = False
    min: float | None = None
    max: float | None = None
    allowed: list[str | float] = []
    pattern: str = ""


class RowRule(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How many rows a file must have."""

    min: int = 1
    max: int | None = None


class LabelRule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What must hold between a data file and its labels file: each label has its row, and enough rows a label."""

    key: str
    column: str
    min_coverage: float = 0.0


class Checks(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A checks file as it is written."""

    columns: dict[str, ColumnRule]
    rows: RowRule = RowRule()
    unique: list[str] = []
    extra_columns: Literal["allow", "refuse"] = "allow"
    labels: LabelRule | None = None


class Failing(msgspec.Struct, kw_only=True):
    """A failing cell: row counting from 1 (the header of a CSV is not counted), value as text."""

    row: int
    column: str
    value: str | None


class CheckResult(msgspec.Struct, kw_only=True):
    """One check over one column, or over the file when ``column`` is empty."""

    check: str
    column: str
    passed: bool
    failing: int
    text: str
    samples: list[Failing] = []


class CheckReport(msgspec.Struct, kw_only=True):
    """All checks of a file."""

    file: str
    rows: int
    passed: bool
    results: list[CheckResult]

    @property
    def failures(self) -> list[CheckResult]:
        """The checks that failed, in the order of the checks file."""
        return [result for result in self.results if not result.passed]


class _Test(msgspec.Struct):
    """A test of cells: SQL that is true where a cell fails, and what to say then."""

    check: str
    column: str
    fails: str
    words: str
    type_differs: str = ""


def load_checks(path: Path) -> Checks:
    """Read a YAML checks file.

    Raises:
        BadInput: the file cannot be read or is not a checks file.
    """
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), Checks, strict=True)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise BadInput(f"{path} is not a checks file", plain(error), "see sample_data/project/checks.yaml") from error


def run_checks(path: Path, checks: Checks, labels: Path | None = None) -> CheckReport:
    """Check a data file, and its labels file if one is given.

    Raises:
        NotFound: no such file.
        BadInput: not a data file, damaged, or without rows. Failing checks do not raise: see :func:`require`.
    """
    con = open_locked([path, *([labels] if labels else [])])
    try:
        table = probe(con, path)
        rows = count_rows(con, table, path)
        results = [*_schema(table, checks), *_scan(con, table, checks, path), *_unique(con, table, checks, path)]
        results.append(_row_count(checks.rows, rows))
        if labels and checks.labels:
            results += _labels(con, table, checks.labels, path, labels)
        return CheckReport(file=path.name, rows=rows, passed=all(r.passed for r in results), results=results)
    finally:
        con.close()


def require(report: CheckReport) -> None:
    """Let a file pass or refuse it with the first failing rows and columns.

    Raises:
        Refused: a check failed.
    """
    if report.passed:
        return
    failures = report.failures
    more = f" (and {len(failures) - 3} more checks)" if len(failures) > 3 else ""
    why = "; ".join(failure.text for failure in failures[:3]) + more
    raise Refused(f"{report.file} was refused", why, "mend the file, or change the checks if they are wrong")


def _row_count(rule: RowRule, rows: int) -> CheckResult:
    passed = rows >= rule.min and (rule.max is None or rows <= rule.max)
    bound = f"{rule.min:,}…{rule.max:,}" if rule.max is not None else f"at least {rule.min:,}"
    text = f"{rows:,} rows" if passed else f"{rows:,} rows, expected {bound}"
    return CheckResult(check="rows", column="", passed=passed, failing=0 if passed else 1, text=text)


def _schema(table: Table, checks: Checks) -> list[CheckResult]:
    present = {column.name for column in table.columns}
    missing = [n for n, rule in checks.columns.items() if n not in present and not rule.optional]
    found = [_lone("missing", n, f"column {n} is missing") for n in missing]
    if checks.extra_columns == "refuse":
        extra = [column.name for column in table.columns if column.name not in checks.columns]
        found += [_lone("extra", n, f"column {n} is not declared") for n in extra]
    return found


def _lone(check: str, column: str, text: str) -> CheckResult:
    return CheckResult(check=check, column=column, passed=False, failing=1, text=text)


def _scan(con: Any, table: Table, checks: Checks, path: Path) -> list[CheckResult]:
    """Run every test of cells in one pass over the file."""
    tests = list(_tests(table, checks))
    if not tests:
        return []
    parts = []
    for test in tests:
        sample = f"arg_min({{'row': {_ROW}, 'value': CAST({quote(test.column)} AS VARCHAR)}}, {_ROW}, {SAMPLES})"
        parts.append(f"count(*) FILTER (WHERE {test.fails}), {sample} FILTER (WHERE {test.fails})")
    found = ask(con, f"SELECT {', '.join(parts)} FROM ({_numbered(table)})", path)[0]
    return [_verdict(test, found[2 * i], found[2 * i + 1] or []) for i, test in enumerate(tests)]


def _numbered(table: Table) -> str:
    return f"SELECT *, {table.row} AS {_ROW} FROM {table.cells}"


def _tests(table: Table, checks: Checks) -> Iterator[_Test]:
    types = {column.name: column.type for column in table.columns}
    for name, rule in checks.columns.items():
        if name not in types:
            continue
        cell, declared = quote(name), rule.type.upper()
        as_text = table.format != "parquet" or types[name] == "VARCHAR"
        value = f"TRY_CAST({cell} AS {declared})" if as_text and declared != "VARCHAR" else cell
        differs = (
            f"{name} is {types[name]}, not {declared}" if table.format == "parquet" and types[name] != declared else ""
        )
        fails = f"({cell} IS NOT NULL AND {_unreadable(cell, declared)})" if value != cell else "false"
        yield _Test("type", name, fails, f"is not a {declared}", differs)
        if rule.not_null:
            yield _Test("not_null", name, f"{cell} IS NULL", "has no value")
        if differs and value == cell:
            continue
        if rule.min is not None or rule.max is not None:
            yield _Test("range", name, _outside(value, declared, rule), f"is not in {_bounds(rule)}")
        if rule.allowed:
            listed = ", ".join(repr(v) if isinstance(v, float | int) else literal(v) for v in rule.allowed)
            yield _Test("allowed", name, f"{value} NOT IN ({listed})", f"is not one of {_some(rule.allowed)}")
        if rule.pattern:
            matches = f"regexp_full_match(CAST({cell} AS VARCHAR), {literal(rule.pattern)})"
            yield _Test("pattern", name, f"NOT {matches}", f"does not match {rule.pattern}")


def _unreadable(cell: str, declared: str) -> str:
    lost = f" OR TRY_CAST({cell} AS DOUBLE) <> TRY_CAST({cell} AS {declared})" if declared in _INTEGERS else ""
    return f"(TRY_CAST({cell} AS {declared}) IS NULL{lost})"


def _outside(value: str, declared: str, rule: ColumnRule) -> str:
    parts = [f"{value} < {rule.min!r}"] if rule.min is not None else []
    parts += [f"{value} > {rule.max!r}"] if rule.max is not None else []
    parts += [f"isnan({value})"] if declared in _FLOATS else []
    return f"({' OR '.join(parts)})"


def _bounds(rule: ColumnRule) -> str:
    low = "" if rule.min is None else f"{rule.min:g}"
    high = "" if rule.max is None else f"{rule.max:g}"
    return f"{low}…{high}"


def _some(values: list[str | float]) -> str:
    shown = [f"{v:g}" if isinstance(v, float | int) else v for v in values]
    return ", ".join(shown) if len(shown) <= 8 else f"{', '.join(shown[:7])}, … ({len(shown)} values)"


def _verdict(test: _Test, failing: int, samples: list[dict[str, Any]]) -> CheckResult:
    cells = [Failing(row=s["row"], column=test.column, value=s["value"]) for s in samples]
    said = [test.type_differs] if test.type_differs else []
    if cells:
        first = cells[0]
        shown = "" if first.value is None else f"{first.value!r} "
        others = f" (and {failing - 1:,} more)" if failing > 1 else ""
        said.append(f"row {first.row}, column {test.column}: {shown}{test.words}{others}")
    passed = not said
    return CheckResult(
        check=test.check,
        column=test.column,
        passed=passed,
        failing=failing,
        text="; ".join(said) or f"{test.column}: {test.check} holds",
        samples=cells,
    )


def _unique(con: Any, table: Table, checks: Checks, path: Path) -> list[CheckResult]:
    results = []
    present = {column.name for column in table.columns}
    for name in (n for n in checks.unique if n in present):
        again = (
            f"SELECT {_ROW}, {quote(name)} AS v, row_number() OVER (PARTITION BY {quote(name)} ORDER BY {_ROW}) AS nth"
        )
        sql = (
            f"SELECT count(*), arg_min({{'row': {_ROW}, 'value': CAST(v AS VARCHAR)}}, {_ROW}, {SAMPLES})"
            f" FROM ({again} FROM ({_numbered(table)})) WHERE nth > 1 AND v IS NOT NULL"
        )
        # the window needs memory for the whole column: only where a count says that something is double
        counted = f"SELECT count({quote(name)}) - count(DISTINCT {quote(name)}) FROM {table.cells}"
        doubles = ask(con, counted, path)[0][0]
        failing, samples = ask(con, sql, path)[0] if doubles else (0, None)
        results.append(_verdict(_Test("unique", name, "", "came before"), failing, samples or []))
    return results


def _labels(con: Any, table: Table, rule: LabelRule, path: Path, labels: Path) -> list[CheckResult]:
    """Check that labels and rows refer to each other: a label without a row, two for one row, rows without."""
    other = probe(con, labels)
    missing = [n for n in (rule.key, rule.column) if n not in {c.name for c in other.columns}]
    if missing:
        return [_lone("labels", missing[0], f"{labels.name} has no column {missing[0]}")]
    key = quote(rule.key)
    ids = f"SELECT DISTINCT {key} FROM {table.relation}"
    sql = (
        f"SELECT count(*) - count(DISTINCT {key}), count(*) FILTER (WHERE {key} NOT IN ({ids})),"
        f" count(DISTINCT {key}) FILTER (WHERE {key} IN ({ids}) AND {quote(rule.column)} IS NOT NULL),"
        f" (SELECT count(*) FROM ({ids})) FROM {other.relation}"
    )
    double, orphans, labelled, rows = ask(con, sql, labels)[0]
    coverage = labelled / max(rows, 1)
    verdicts = [
        (
            "label_unique",
            double,
            f"{double:,} labels of {labels.name} name a row twice",
            "each row has at most one label",
        ),
        (
            "label_known",
            orphans,
            f"{orphans:,} labels of {labels.name} name no row of {path.name}",
            "each label has its row",
        ),
    ]
    results = [
        CheckResult(check=check, column=rule.key, passed=not n, failing=n, text=bad if n else good)
        for check, n, bad, good in verdicts
    ]
    text = f"{coverage:.1%} of rows have a label"
    enough = coverage >= rule.min_coverage
    if not enough:
        text += f", expected {rule.min_coverage:.1%}"
    unlabelled = 0 if enough else rows - labelled
    results.append(
        CheckResult(check="label_coverage", column=rule.column, passed=enough, failing=unlabelled, text=text)
    )
    return results
