"""The deployment's counters in the Prometheus text format 0.0.4, added up over its workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlops_tui.serving.problem import Answer
from mlops_tui.serving.record.counters import BUCKETS_S, Count, Counters, Gauge

_OUTCOMES = (
    (Count.OK, "ok"),
    (Count.CLIENT_ERROR, "client_error"),
    (Count.MODEL_ERROR, "model_error"),
    (Count.FALLBACK, "fallback"),
)
_TYPE = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)
_Sample = tuple[str, Mapping[str, str], float]


def exposition(counters: Counters, deployment: str, columns: Sequence[tuple[int, str, str]]) -> Answer:
    """Return the answer to ``GET /metrics``.

    Args:
        counters: the mapped file.
        deployment: the name, which becomes a label of every sample.
        columns: (column, revision id, label) of every revision that has been counted.
    """
    lines: list[str] = []
    base = {"deployment": deployment}
    found = [({"revision": label, "revision_id": ident}, counters.column(at)) for at, ident, label in columns]
    for name, kind, text, samples in (*_of_revisions(found), *_of_workers(counters)):
        lines += [f"# HELP mlops_serving_{name} {text}", f"# TYPE mlops_serving_{name} {kind}"]
        lines += [f"mlops_serving_{name}{end}{_labels({**base, **own})} {value:.12g}" for end, own, value in samples]
    return Answer(200, _TYPE, ("\n".join(lines) + "\n").encode())


def _of_revisions(
    found: Sequence[tuple[dict[str, str], list[int]]],
) -> Iterable[tuple[str, str, str, list[_Sample]]]:
    outcomes: list[_Sample] = [("", {**r, "outcome": text}, c[at]) for r, c in found for at, text in _OUTCOMES]
    # What nobody could read belongs to no revision: it has an outcome, but neither rows nor a latency.
    found = [(revision, column) for revision, column in found if revision["revision_id"]]
    shadows: list[_Sample] = [
        ("", {**r, "outcome": text}, c[at])
        for r, c in found
        for at, text in ((Count.SHADOW_OK, "ok"), (Count.SHADOW_ERROR, "model_error"))
    ]
    rows: list[_Sample] = [("", r, c[Count.ROWS]) for r, c in found]
    latency = [sample for r, c in found for sample in _histogram(r, c)]
    yield "requests_total", "counter", "Requests by what became of them.", outcomes
    yield "shadow_total", "counter", "Requests repeated on a shadow revision.", shadows
    yield "rows_total", "counter", "Rows answered.", rows
    yield "latency_seconds", "histogram", "Time from the whole request to its answer.", latency


def _histogram(revision: Mapping[str, str], column: Sequence[int]) -> list[_Sample]:
    samples: list[_Sample] = []
    below = 0
    for bound, count in zip((*map("{:.3g}".format, BUCKETS_S), "+Inf"), column[Count.BUCKET :], strict=False):
        below += count
        samples.append(("_bucket", {**revision, "le": bound}, below))
    return [*samples, ("_sum", revision, column[Count.LATENCY_NS] / 1e9), ("_count", revision, below)]


def _of_workers(counters: Counters) -> Iterable[tuple[str, str, str, list[_Sample]]]:
    def one(gauge: Gauge, labels: Mapping[str, str] | None = None) -> _Sample:
        return "", labels or {}, counters.total(gauge)

    live = [slot for slot in counters.slots if slot[Gauge.READY]]
    answered = [
        one(gauge, {"class": text})
        for gauge, text in ((Gauge.HTTP_2XX, "2xx"), (Gauge.HTTP_4XX, "4xx"), (Gauge.HTTP_5XX, "5xx"))
    ]
    yield "http_answers_total", "counter", "Answers by class of status.", answered
    yield "connections", "gauge", "Open connections.", [one(Gauge.CONNECTIONS)]
    yield "connections_total", "counter", "Connections accepted.", [one(Gauge.ACCEPTED)]
    yield "workers_ready", "gauge", "Workers that answer.", [("", {}, len(live))]
    yield "worker_restarts_total", "counter", "Workers started in place of a dead one.", [one(Gauge.RESTARTS)]
    yield "turned_away_total", "counter", "Requests refused because too many waited.", [one(Gauge.TURNED_AWAY)]
    yield "switched_off_total", "counter", "Requests that a toggle gave no model's answer.", [one(Gauge.SWITCHED_OFF)]
    yield "feature_lookups_total", "counter", "Rows whose features were looked up.", [one(Gauge.LOOKUPS)]
    yield "feature_lookup_misses_total", "counter", "Ids that nobody knew.", [one(Gauge.LOOKUP_MISSES)]
    oldest = max((slot[Gauge.FEATURE_AGE_S] for slot in live), default=0)
    yield "feature_age_seconds", "gauge", "Age of the oldest features of the last look-up.", [("", {}, oldest)]
    yield "log_rows_total", "counter", "Rows written to the inference log.", [one(Gauge.LOG_ROWS)]
    yield "log_dropped_rows_total", "counter", "Rows answered but not logged.", [one(Gauge.LOG_DROPPED_ROWS)]
    yield "log_bytes_total", "counter", "Bytes written to the inference log.", [one(Gauge.LOG_BYTES)]
    yield "shadow_dropped_total", "counter", "Shadow runs left out under load.", [one(Gauge.SHADOW_DROPPED)]
    yield (
        "generation",
        "gauge",
        "Generation of the routes that every worker serves.",
        [("", {}, min((slot[Gauge.GENERATION] for slot in live), default=0))],
    )


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
