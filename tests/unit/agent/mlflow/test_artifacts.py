"""Artifacts through the proxy: of any size, by folder, in parts, and nothing of what was not sent to its end."""

from __future__ import annotations

import asyncio
import getpass
import os

import pytest

from mlops_tui.contracts import govern
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import ask

ROOT = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def top(run):
    return f"{ROOT}/0/{run}/artifacts"


def send(wire, path, pieces, *, method="PUT", headers=(), end=True, query=b""):
    """Send a body piece by piece; without an end the client goes away. Returns status, headers and body."""
    messages = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False} if end else {"type": "http.disconnect"})
    scope = {
        "type": "http", "method": method, "path": path, "client": (f"uid:{os.getuid()}", 0), "query_string": query,
        "headers": [(b"host", b"127.0.0.1"), *headers],
    }  # fmt: skip
    sent = []

    async def receive():
        return messages.pop(0)

    async def answer(message):
        sent.append(message)

    asyncio.run(wire._application(scope, receive, answer))
    body = b"".join(one.get("body", b"") for one in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


def test_a_file_in_pieces_comes_back_whole_and_in_parts(wire, run, top):
    content = os.urandom(3_000_000)
    assert send(wire, f"{top}/deep/big.bin", [content[:1_000_001], b"", content[1_000_001:]])[0] == 200
    status, headers, body = send(wire, f"{top}/deep/big.bin", [], method="GET")
    assert (status, body) == (200, content)
    assert headers[b"content-length"] == b"3000000" and headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"content-disposition"] == b"attachment; filename=big.bin"
    for wanted, found in (("bytes=5-9", content[5:10]), ("bytes=-7", content[-7:]), ("bytes=2999999-", content[-1:])):
        status, headers, body = send(
            wire, f"{top}/deep/big.bin", [], method="GET", headers=[(b"range", wanted.encode())]
        )
        assert (status, body) == (206, found) and headers[b"content-range"].endswith(b"/3000000")
    assert send(wire, f"{top}/deep/big.bin", [], method="GET", headers=[(b"range", b"bytes=3000000-")])[0] == 416
    assert wire.get("artifacts/list", run_id=run, path="deep")["files"] == [
        {"path": "deep/big.bin", "is_dir": False, "file_size": 3_000_000}
    ]


def test_a_client_that_dies_leaves_nothing(wire, run, top):
    blobs = wire.house.blobs
    status, _, body = send(wire, f"{top}/half.bin", [os.urandom(500_000)] * 3, end=False)
    assert status == 400 and b"went away" in body
    assert "files" not in wire.get("artifacts/list", run_id=run)
    assert list(blobs.incoming().iterdir()) == [] and list(blobs.digests()) == []


def test_equal_contents_are_stored_once(wire, run, top):
    for name in ("a", "b", "c/d"):
        send(wire, f"{top}/{name}", [b"the same"])
    assert len(list(wire.house.blobs.digests())) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.txt", "text/plain"), ("MLmodel", "text/plain"), ("mlproject", "text/plain"),
     ("b.pkl", "application/octet-stream"), ("c.png", "image/png"),
     ("d.pdf", "application/pdf"), ("x.json", "text/plain"), ("sp ace.txt", "text/plain"), ("ärger.png", "image/png")],
)  # fmt: skip
def test_what_a_file_is_said_to_be(wire, top, name, kind):
    send(wire, f"{top}/{name}", [b"x"])
    _, headers, _ = send(wire, f"{top}/{name}", [], method="GET")
    assert headers[b"content-type"] == kind.encode() and headers[b"content-disposition"].startswith(b"attachment; ")
    assert headers[b"content-disposition"].isascii()


@pytest.mark.parametrize("path", ["../x", "a/../../x", "..%2Fx", "%2e%2e/x", "a//b", "%252e%252e/x", "a#b", "/etc/x"])
def test_a_path_that_leads_out_is_refused(wire, run, top, path):
    for method in ("PUT", "GET", "DELETE"):
        assert send(wire, f"{top}/{path}", [b"evil"], method=method)[0] == 400
    assert wire.refused("GET", "artifacts/list", run_id=run, path=path)[2] == "Invalid path"
    assert list(wire.house.blobs.digests()) == []


def test_files_under_no_run_have_a_place(wire):
    for path in ("a.txt", "dir/b.txt"):
        send(wire, f"{ROOT}/{path}", [b"0"])
    assert wire.get(ROOT)["files"] == [
        {"path": "a.txt", "is_dir": False, "file_size": 1}, {"path": "dir", "is_dir": True}
    ]  # fmt: skip
    assert wire.get(ROOT, path="dir") == {"files": [{"path": "b.txt", "is_dir": False, "file_size": 1}]}
    assert wire.get(f"{ROOT}/dir/b.txt") == b"0"


def test_a_file_of_a_run_or_a_logged_model_by_name(wire, run, top):
    send(wire, f"{top}/a.txt", [b"abc"])
    assert wire.get("/get-artifact", run_id=run, path="a.txt") == b"abc"
    assert wire.refused("GET", "/get-artifact", run_id=run, path="none")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    assert wire.ask("POST", "upload-artifact", query={"run_uuid": run, "path": "b.txt"}, raw=b"up") == (200, {})
    assert wire.get("/get-artifact", run_id=run, path="b.txt") == b"up"
    assert "run_uuid" in wire.refused("POST", "upload-artifact", path="b.txt")[2]
    model = wire.post("logged-models", experiment_id="0", name="m")["model"]["info"]
    place = model["artifact_uri"].removeprefix("mlflow-artifacts:/")
    send(wire, f"{ROOT}/{place}/sub/MLmodel", [b"card"])
    found = wire.get(f"logged-models/{model['model_id']}/artifacts/directories")
    assert found == {"root_uri": model["artifact_uri"], "files": [{"path": "sub", "is_dir": True}]}
    assert wire.get(f"logged-models/{model['model_id']}/artifacts/files", artifact_file_path="sub/MLmodel") == b"card"


def part(wire, upload, number, content):
    status, headers, _ = send(wire, f"/api/2.0/mlflow-artifacts/mpu/part/{upload}/{number}", [content])
    return {"part_number": number, "etag": headers.get(b"etag", b"").decode()} if status == 200 else status


def test_parts_are_joined_in_order_and_nothing_of_them_stays(wire, run, top):
    mpu, folder = "/api/2.0/mlflow-artifacts/mpu", top.removeprefix(ROOT)
    begun = wire.post(f"{mpu}/create{folder}/deep", path="/tmp/big.bin", num_parts=3)
    assert [one["part_number"] for one in begun["credentials"]] == [1, 2, 3]
    assert begun["credentials"][1]["url"] == f"http://127.0.0.1{mpu}/part/{begun['upload_id']}/2"
    upload, content = begun["upload_id"], [os.urandom(70_000) for _ in range(3)]
    sent = [part(wire, upload, number, content[number - 1]) for number in (3, 1, 2)]
    wrong = [{**sent[0], "etag": sent[1]["etag"]}, *sent[1:]]
    asked = {"path": "/tmp/big.bin", "upload_id": upload}
    assert wire.refused("POST", f"{mpu}/complete{folder}/deep", **asked, parts=wrong)[0] == 400
    assert wire.refused("POST", f"{mpu}/complete{folder}/deep", **asked, parts=[{"part_number": 9}])[0] == 404
    assert "files" not in wire.get("artifacts/list", run_id=run)
    assert wire.post(f"{mpu}/complete{folder}/deep", **asked, parts=sent) == {}
    assert wire.get("/get-artifact", run_id=run, path="deep/big.bin") == b"".join(content)
    assert list(wire.house.blobs.incoming().iterdir()) == []
    told = wire.get(f"/api/2.0/mlflow-artifacts/presigned{folder}/deep/big.bin")
    assert told["file_size"] == 210_000 and told["url"].endswith("/deep/big.bin")


def test_an_upload_in_parts_that_is_given_up_leaves_nothing(wire, run, top):
    mpu, folder = "/api/2.0/mlflow-artifacts/mpu", top.removeprefix(ROOT)
    begun = wire.post(f"{mpu}/create{folder}", path="big.bin", num_parts=2)
    part(wire, begun["upload_id"], 1, b"secret words")
    [file] = wire.house.blobs.incoming().iterdir()
    assert b"secret" not in file.read_bytes()
    wire.post(f"{mpu}/abort{folder}", path="big.bin", upload_id=begun["upload_id"])
    assert list(wire.house.blobs.incoming().iterdir()) == []
    assert part(wire, "../../x", 1, b"x") == 404 and part(wire, "x", 1, b"x") == 400
    assert wire.refused("POST", f"{mpu}/create{folder}", path="x", num_parts=10_001)[0] == 400


def test_a_viewer_reads_and_puts_nothing(wire, run, top):
    send(wire, f"{top}/a.txt", [b"abc"])
    me = getpass.getuser()
    for name, role in ((me, "admin"), ("boss", "admin"), (me, "viewer")):
        wanted = govern.CreateIdentity(name=name, role=role)
        ask(wire.house, govern.identity_create, wanted, Caller(me, os.getuid()))
    assert send(wire, f"{top}/a.txt", [], method="GET")[2] == b"abc"
    for method, pieces in (("PUT", [b"evil"]), ("DELETE", [])):
        assert send(wire, f"{top}/a.txt", pieces, method=method)[0] == 403
    assert len(list(wire.house.blobs.digests())) == 1


def test_an_upload_is_answered_from_the_journal_and_read_after_it(wire, run, top):
    house = wire.house
    rows = "SELECT path, size FROM run_artifact ORDER BY path"
    for path, content in (("a.txt", b"first"), ("a.txt", b"second!"), ("b/c.txt", b"x")):
        assert send(wire, f"{top}/{path}", [content])[0] == 200
    assert house.read(lambda session: session.rows(rows)) == []  # acknowledged, not taken in yet
    assert send(wire, f"{top}/a.txt", [], method="GET")[2] == b"second!"
    assert house.read(lambda session: session.rows(rows)) == [("a.txt", 7), ("b/c.txt", 1)]
    assert send(wire, f"{top}/b", [], method="DELETE")[0] == 200
    assert [one["path"] for one in wire.get("artifacts/list", run_id=run)["files"]] == ["a.txt"]


def test_a_version_has_the_files_that_came_a_moment_before_it(wire, run, top):
    assert send(wire, f"{top}/model/weights.bin", [b"w"])[0] == 200
    wire.post("registered-models/create", name="m")
    wire.post("model-versions/create", name="m", source=f"mlflow-artifacts:/0/{run}/artifacts/model", run_id=run)
    status, _, body = send(
        wire, "/model-versions/get-artifact", [], method="GET", query=b"name=m&version=1&path=weights.bin"
    )
    assert (status, body) == (200, b"w")
