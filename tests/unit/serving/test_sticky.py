"""What requests stick by: headers, fields of every protocol, ids; and what becomes of it in the log."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mlops_tui.serving.record.segments import NOBODY, read_segment
from mlops_tui.serving.traffic.routing import Router
from mlops_tui.serving.traffic.sticky import KEYLESS, Sticky, salt_of, text_of

SALT = b"s" * 32


def served(bench: Any, onnx_models: Any, sticky: str, names: list[str] | None = None, salt: bytes = SALT) -> Router:
    data = onnx_models.summing(names=names) if names else onnx_models.summing()
    arms = [bench.arm(no, data, 50.0, "stable" if no == 1 else "canary") for no in (1, 2)]
    router = Router((1, 1), arms, sticky, None, salt=salt)
    bench.app.route(router, [(0, "", "none"), *((a.column, a.id, a.label) for a in arms)])
    return router


def tensor(rows: int = 1) -> dict[str, Any]:
    return {"name": "X", "shape": [rows, 3], "datatype": "FP32", "data": [1.0] * 3 * rows}


def logged(bench: Any) -> list[tuple[int, int]]:
    bench.log.close()
    batches = [read_segment(path) for path in sorted(bench.spool.glob("*.seg"))]
    return [pair for b in batches for pair in zip(b.client.tolist(), b.revision_no.tolist(), strict=True)]


def test_one_client_is_one_number_and_one_revision_whichever_way_its_key_came(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models, "field:customer", names=["customer", "b", "c"])
    x = {"name": "X", "shape": [2, 3], "datatype": "FP32", "data": [17.0, 1, 1, 99, 1, 1]}
    bench.ask("/v2/models/m/infer", {"inputs": [tensor()], "parameters": {"customer": 17}})
    bench.ask("/v2/models/m/infer", {"inputs": [tensor()], "parameters": {"customer": "17"}})
    bench.ask("/v2/models/m/infer", {"inputs": [x]})
    head = orjson.dumps({"inputs": [{**tensor(), "data": [17, 1, 1]}]})
    binary = orjson.dumps(
        {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}]}
    )
    bench.ask("/v2/models/m/infer", head)
    raw = np.array([17, 1, 1], np.float32).tobytes()
    more = {"content_type": "application/octet-stream", "inference_header_content_length": str(len(binary))}
    bench.ask("/v2/models/m/infer", binary + raw, **more)
    for body in (
        {"dataframe_split": {"columns": ["c", "b", "customer"], "data": [[1, 1, 17], [1, 1, 99]]}},
        {"dataframe_records": [{"customer": 17, "b": 1, "c": 1}]},
        {"dataframe_split": {"data": [[17, 1, 1]]}},
        {"inputs": [[1, 1, 1]], "params": {"customer": "17"}},
    ):
        assert bench.ask("/invocations", body).status == 200, body
    csv = bench.ask("/invocations", b"customer,b,c\n17,1,1\n", content_type="text/csv")
    assert csv.status == 200
    found = logged(bench)
    assert len(found) == 10 and len(set(found)) == 1 and found[0][0] > 0


def test_of_several_rows_the_first_decides_and_nothing_is_refused(bench: Any, onnx_models: Any) -> None:
    router = served(bench, onnx_models, "field:customer")
    said = {"dataframe_split": {"columns": ["customer", "b", "c"], "data": [[5, 1, 1], [6, 1, 1], [7, 1, 1]]}}
    answers = {bench.ask("/invocations", said).status for _ in range(3)}
    alone = {"dataframe_split": {"columns": ["customer", "b", "c"], "data": [[5, 1, 1]]}}
    bench.ask("/invocations", alone)
    assert answers == {200} and len({client for client, _ in logged(bench)}) == 1
    assert router.pick({}, b"", Columns(5))[1] != router.pick({}, b"", Columns(6))[1]


class Columns:
    id = None

    def __init__(self, value: Any) -> None:
        self.value = value

    def first(self, name: str, model: Any) -> Any:
        return self.value


def test_without_the_field_requests_are_drawn_and_belong_to_nobody(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models, "field:customer")
    for _ in range(60):
        assert bench.infer([[1, 2, 3]]).status == 200
    found = logged(bench)
    assert {client for client, _ in found} == {KEYLESS} and len({no for _, no in found}) == 2


@pytest.mark.parametrize("sticky", [None, "id"])
def test_where_requests_do_not_stick_to_clients_nobody_asks_whose_they_are(
    bench: Any, onnx_models: Any, sticky: str
) -> None:
    served(bench, onnx_models, sticky)
    bench.infer([[1, 2, 3]], id="r-1")
    assert [client for client, _ in logged(bench)] == [NOBODY]


def test_the_log_has_no_key_and_no_two_deployments_the_same_number(tmp_path: Path) -> None:
    one, other = salt_of(private(tmp_path / "a")), salt_of(private(tmp_path / "b"))
    assert one != other and len(one) == 32
    first, second = (Sticky("x-user", salt).client(b"alice") for salt in (one, other))
    assert first != second and first > 0
    assert (tmp_path / "a" / "clients.key").stat().st_mode & 0o777 == 0o600


def private(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_workers_that_ask_at_once_get_one_secret(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(salt_of(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["clients.key"]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (17, b"17"), (17.0, b"17"), (np.float32(17), b"17"), ("17", b"17"), (b"c-1", b"c-1"), (1.5, b"1.5"),
        (True, b"True"), (None, None), (float("nan"), None), ("", None), ({"a": 1}, None), ([1], None),
    ],
)  # fmt: skip
def test_a_value_as_a_key(value: Any, key: bytes | None) -> None:
    assert text_of(value) == key
