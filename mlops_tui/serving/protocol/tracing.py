"""OpenTelemetry traces of inference requests (extra ``otel``); nothing of it is loaded when none are asked for.

A span is made when its request is answered, with the times that were taken anyway: a request waits for nothing. It
continues the trace that the client's ``traceparent`` names, and is sampled as ``OTEL_TRACES_SAMPLER`` says, by default
as the client has decided.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import perf_counter_ns, time_ns
from typing import Any

from mlops_tui import __version__
from mlops_tui.serving.traffic.call import Ticket

_log = logging.getLogger("mlops.serving")


class Tracer:
    """Sends a span a request to a collector, in the background and in batches; what it cannot send is dropped.

    Args:
        name: the deployment's name, which is the service's.
        collector: the collector's address for OTLP over HTTP, such as ``http://localhost:4318``.

    Raises:
        ImportError: the extra is not installed.
    """

    def __init__(self, name: str, collector: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.name": name, "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=collector.rstrip("/") + "/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("mlops_tui.serving", __version__)
        self._kind, self._failed = SpanKind.SERVER, Status(StatusCode.ERROR)
        self._incoming = TraceContextTextMapPropagator()
        self._name = name

    def note(self, tickets: Iterable[Ticket]) -> None:
        """Make a span of each request that has been answered."""
        wall, clock = time_ns(), perf_counter_ns()
        for ticket in tickets:
            headers = ticket.envelope.headers
            carrier = {name: headers[name.encode()].decode("latin-1") for name in _NAMES if name.encode() in headers}
            span = self._tracer.start_span(
                f"infer {self._name}",
                context=self._incoming.extract(carrier) if carrier else None,
                kind=self._kind,
                start_time=wall - (clock - ticket.started),
                attributes=_attributes(ticket),
            )
            if ticket.answer is not None and ticket.answer.status >= 500:
                span.set_status(self._failed)
            span.end(end_time=wall)

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        self._provider.force_flush(3000)
        self._provider.shutdown()


_NAMES = ("traceparent", "tracestate")


def _attributes(ticket: Ticket) -> dict[str, Any]:
    return {
        "mlops.revision": ticket.arm.label,
        "mlops.revision_id": ticket.arm.id,
        "mlops.request_id": ticket.ident,
        "mlops.rows": ticket.rows,
        "mlops.rescued": ticket.rescued,
        "http.response.status_code": 0 if ticket.answer is None else ticket.answer.status,
    }


def tracer(name: str, collector: str) -> Tracer | None:
    """Return a tracer, or None when none is asked for or the extra is missing, which is said once."""
    if not collector:
        return None
    try:
        return Tracer(name, collector)
    except ImportError as error:
        _log.error("no traces are sent: %s; pip install 'mlops_tui[otel]'", error)
        return None
