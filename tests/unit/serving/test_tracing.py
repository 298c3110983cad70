"""Traces: spans of answered requests at a collector that speaks OTLP; nothing loaded when none is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Any:
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.path.encode() + b" " + self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *any_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.got = got  # type: ignore[attr-defined]
    yield server
    server.shutdown()
    server.server_close()


def test_answered_requests_become_spans_in_their_clients_trace(
    make_bench: Any, onnx_models: Any, collector: Any
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    bench = make_bench(traces=f"http://127.0.0.1:{collector.server_port}")
    bench.route(bench.arm(1, onnx_models.brittle()))
    body = {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}], "id": "r-1"}
    assert bench.ask("/v2/models/m/infer", body, traceparent=f"00-{TRACE}-{SPAN}-01").status == 200
    body["inputs"][0]["data"] = [99, 2, 3]  # type: ignore[index]
    assert bench.ask("/v2/models/m/infer", body).status == 500
    unsampled = f"00-{TRACE}-{SPAN}-00"
    assert bench.ask("/v2/models/m/infer", body, traceparent=unsampled).status == 500
    bench.app.tracer.close()
    path, _, data = b"".join(collector.got).partition(b" ")
    assert path == b"/v1/traces"
    (resource,) = ExportTraceServiceRequest.FromString(data).resource_spans
    assert {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"] == "m"
    good, bad = resource.scope_spans[0].spans
    assert (good.trace_id.hex(), good.parent_span_id.hex(), good.name) == (TRACE, SPAN, "infer m")
    said = {a.key: a.value for a in good.attributes}
    assert said["mlops.revision"].string_value == "v1" and said["mlops.request_id"].string_value == "r-1"
    assert said["http.response.status_code"].int_value == 200 and said["mlops.rows"].int_value == 1
    assert 0 < good.end_time_unix_nano - good.start_time_unix_nano < 5e9
    assert bad.status.code == 2 and not bad.parent_span_id and bad.trace_id.hex() != TRACE


def test_without_a_collector_nothing_of_it_is_loaded() -> None:
    probe = "import sys, json, mlops_tui.serving.process.worker; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert not [name for name in json.loads(done.stdout) if name.startswith(("opentelemetry", "grpc", "google"))]
