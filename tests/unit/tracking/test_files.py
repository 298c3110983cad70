"""Files by path: where an address leads, what a folder holds, what is refused, and that deleting is exact."""

from __future__ import annotations

import pytest

from mlops_tui.core.errors import BadInput, Conflict, NotFound, Refused
from mlops_tui.tracking.artifacts.files import stored_at
from mlops_tui.tracking.artifacts.places import find_place, safe


@pytest.fixture
def run(desk):
    writer = desk.run()
    writer.end("done")
    desk.take()
    return writer.owner


def put(desk, of, path, content=b"x"):
    blob = desk.house.blobs.put_bytes(content)
    return desk.call("artifact.keep", of=of, path=path, digest=blob.digest, size=blob.size)


def place(desk, of, path=""):
    return desk.house.read(lambda session: find_place(session, "default", of, path))


def listed(desk, of, path=""):
    return [(one.path, one.folder, one.size) for one in desk.call("artifact.list", of=of, place=path).entries]


def test_an_address_leads_to_its_owner_whatever_stands_before_it(desk, run):
    hexed = run.replace("-", "")
    for top in (f"1/{hexed}/artifacts", f"some/where/{hexed}/artifacts", f"1/{run}/artifacts"):
        found = place(desk, f"mlflow-artifacts:/{top}/a/artifacts/b.txt")
        assert (found.kind, found.owner, found.path) == ("run", run, "a/artifacts/b.txt")
        assert desk.call("artifact.list", of=run).address == f"mlflow-artifacts:/1/{hexed}/artifacts"
    assert place(desk, "one", "a") == ("run", run, "a")
    assert place(desk, "mlflow-artifacts:/loose/artifacts/b") == ("files", "files:default", "loose/artifacts/b")
    with pytest.raises(NotFound):
        place(desk, "nobody")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "..", "/", "a\0b", "a\nb", "../.."])
def test_a_path_that_leads_out_is_refused(path):
    with pytest.raises(BadInput, match="no path of an artifact"):
        safe(path)


def test_points_alone_are_the_folder_itself_or_a_name():
    assert [safe(path) for path in ("", ".", "./", "./.", "...", "a/...")] == ["", "", "", "", "...", "a/..."]


def test_a_folder_is_listed_one_level_deep(desk, run):
    for path in ("b.txt", "deep/er/c.bin", "deep/a", "deeper"):
        put(desk, run, path, path.encode())
    assert listed(desk, run) == [("b.txt", False, 5), ("deep", True, None), ("deeper", False, 6)]
    assert listed(desk, run, "deep") == [("deep/a", False, 6), ("deep/er", True, None)]
    assert listed(desk, run, "b.txt") == listed(desk, run, "none") == []
    assert [one.path for one in desk.call("run.show", run=run).artifacts] == [
        "b.txt",
        "deep/a",
        "deep/er/c.bin",
        "deeper",
    ]


def test_a_file_is_replaced_and_found_and_never_lies_under_a_file(desk, run):
    put(desk, run, "a/b", b"old")
    put(desk, run, "a/b", b"new!")
    digest, size = desk.house.read(lambda s: stored_at(s, find_place(s, "default", run, "a/b")))
    assert size == 4 and desk.house.blobs.read_bytes(digest) == b"new!"
    for wrong, why in (("a", "a folder lies there"), ("a/b/c", "a/b is a file")):
        with pytest.raises(Conflict, match=why):
            put(desk, run, wrong)
    with pytest.raises(BadInput, match="is a folder"):
        desk.house.read(lambda s: stored_at(s, find_place(s, "default", run, "a")))
    with pytest.raises(NotFound, match="no artifact x"):
        desk.house.read(lambda s: stored_at(s, find_place(s, "default", run, "x")))


def test_a_file_is_read_whole_or_its_beginning(desk, run, monkeypatch):
    put(desk, run, "plots/a.txt", b"hello there")
    got = desk.call("artifact.read", of=run, path="plots/a.txt")
    assert (got.name, got.content, got.size) == ("a.txt", b"hello there", 11)
    monkeypatch.setattr("mlops_tui.contracts.artifact.READ_AT_ONCE", 5)
    with pytest.raises(Refused, match="too large for one answer"):
        desk.call("artifact.read", of=run, path="plots/a.txt")
    part = desk.call("artifact.read", of=run, path="plots/a.txt", part=True)
    assert (part.content, part.size) == (b"hello", 11)
    with pytest.raises(BadInput, match="is a folder"):
        desk.call("artifact.read", of=run, path="plots")
    with pytest.raises(NotFound):
        desk.call("artifact.read", of=run, path="none")


def test_deleting_takes_a_folder_and_nothing_that_only_begins_alike(desk, run):
    for path in ("a/b", "a/c/d", "ab", "z"):
        put(desk, run, path)
    plan = desk.plan("artifact.delete", of=run, place="a")
    assert plan.text == "delete a (2 files, 2 bytes)" and len(plan.changes) == 2
    desk.call("artifact.delete", of=run, place="a")
    assert [path for path, *_ in listed(desk, run)] == ["ab", "z"]
    with pytest.raises(NotFound):
        desk.call("artifact.delete", of=run, place="a")
