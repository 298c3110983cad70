"""Artifacts of runs: sealed, listed, and their plain copies gone; nothing that a record merely claims is believed."""

from __future__ import annotations

import json
import os
import threading
import time

from mlops_tui.core.ids import uuid7
from mlops_tui.door.registry import ABSORBERS
from mlops_tui.spool.files import KEPT, keep
from mlops_tui.tracking.artifacts.spooled import LEFT_S, leftovers

CANARY = b"canary-7f3a91 " * 1000


def keep_one(run, path, content, **changed):
    file, size = keep(run.folder, content)
    run.artifact(path, changed.get("file", file), changed.get("size", size))
    return file


def at_rest(home):
    return b"".join(path.read_bytes() for path in home.data.rglob("*") if path.is_file())


def test_an_artifact_is_sealed_and_its_plain_copy_gone(desk):
    run = desk.run()
    kept = keep_one(run, "models/model.onnx", CANARY)
    run.end("done")
    desk.take()
    [one] = desk.call("run.show", run="one").artifacts
    assert (one.path, one.size) == ("models/model.onnx", len(CANARY))
    assert desk.house.blobs.read_bytes(one.digest) == CANARY
    assert desk.rows("SELECT digest, size, kind FROM blob") == [(one.digest, len(CANARY), "artifact")]
    assert not kept.exists()
    assert CANARY[:100] not in at_rest(desk.house.home)


def test_the_same_content_is_kept_once_and_a_path_means_its_newest_content(desk):
    run = desk.run()
    keep_one(run, "a", b"one")
    keep_one(run, "b", b"one")
    desk.take()
    keep_one(run, "a", b"two!")
    desk.take()
    run.end("done")
    desk.take()
    assert [(one.path, one.size) for one in desk.call("run.show", run="one").artifacts] == [("a", 4), ("b", 3)]
    assert desk.rows("SELECT count(*) FROM blob") == [(2,)]


def test_a_path_is_a_file_or_a_folder_and_nothing_is_lost_when_it_is_said_to_be_both(desk):
    """Found by an export: no file system, and no MLflow, has room for both."""
    run = desk.run()
    for path, content in (("a", b"1"), ("a/b", b"2"), ("c/d/e", b"3"), ("c", b"4"), ("c/d", b"5"), ("a/b", b"66")):
        keep_one(run, path, content)
    desk.take()
    shown = desk.call("run.show", run="one")
    assert {one.path: one.size for one in shown.artifacts} == {
        "a": 1, "a~/b": 2, "c/d/e": 1, "c~": 1, "c/d~": 1
    }  # fmt: skip
    told = {key: value for key, value in shown.tags.items() if key.startswith("mlops.conflict")}
    assert told == {f"mlops.conflict.artifact.{path}": to for path, to in
                    (("a/b", "a~/b"), ("c", "c~"), ("c/d", "c/d~"))}  # fmt: skip


def test_an_older_artifact_read_later_does_not_replace_a_newer_one(desk):
    owner = uuid7()
    (desk.spool / owner).mkdir(parents=True)
    for name, t, content in (("x-2-2", 20, b"new"), ("x-1-1", 10, b"older")):
        file, size = keep(desk.spool / owner, content)
        record = {"v": 1, "e": "artifact", "t": t, "path": "model", "file": str(file), "size": size}
        (desk.spool / owner / f"{name}.jsonl").write_text(json.dumps(record) + "\n")
        desk.take()
    assert desk.rows("SELECT size FROM run_artifact") == [(3,)]


def test_a_claim_is_set_aside_and_the_next_one_taken(desk, tmp_path):
    secret = tmp_path / "id_ed25519"
    secret.write_bytes(b"private")
    run = desk.run()
    keep_one(run, "stolen", b"x", file=secret, size=7)
    keep_one(run, "short", b"four", size=5)
    keep_one(run, "../out", b"four")
    link = run.folder / KEPT / "link"
    link.symlink_to(secret)
    run.artifact("linked", link, 7)
    keep_one(run, "good", b"good")
    run.end("done")
    desk.take()
    assert [one.path for one in desk.call("run.show", run="one").artifacts] == ["good"]
    assert desk.status(run.owner) == "done"
    errors = [error for (error,) in desk.rows("SELECT error FROM quarantine ORDER BY line")]
    assert len(errors) == 4 and sum("is not a file kept" in one for one in errors) == 2
    assert secret.read_bytes() == b"private"


def test_content_that_is_claimed_and_not_there_is_set_aside(desk):
    owner = uuid7()
    (desk.spool / owner).mkdir(parents=True)
    lines = [
        json.dumps({"v": 1, "e": "artifact", "t": 1, "path": "model", "digest": digest, "size": 1})
        for digest in ("0" * 64, "../../key")
    ]
    (desk.spool / owner / "x-1-1.jsonl").write_text("\n".join(lines) + "\n")
    desk.take()
    assert desk.rows("SELECT count(*) FROM quarantine") == [(2,)]
    assert desk.rows("SELECT count(*) FROM run_artifact") == [(0,)]


def test_an_upload_that_a_power_cut_shortened_is_set_aside(desk):
    blobs, owner = desk.house.blobs, uuid7()
    (desk.spool / owner).mkdir(parents=True)
    whole = [blobs.put_bytes(content) for content in (b"a" * 200_000, b"b" * 200_000)]
    cut = blobs._path(whole[0].digest)
    cut.chmod(0o600)
    os.truncate(cut, cut.stat().st_size - 70_000)
    lines = [
        json.dumps({"v": 1, "e": "artifact", "t": 1, "path": one.digest[:3], "digest": one.digest, "size": one.size})
        for one in whole
    ]
    (desk.spool / owner / "x-1-1.jsonl").write_text("\n".join(lines) + "\n")
    desk.take()
    assert desk.rows("SELECT digest FROM run_artifact") == [(whole[1].digest,)]
    assert desk.rows("SELECT count(*) FROM quarantine") == [(1,)]


def test_a_full_disk_delays_and_loses_nothing(desk, monkeypatch):
    from mlops_tui.core.errors import MlopsError

    run = desk.run(params={"lr": 1})
    kept = keep_one(run, "model", b"weights")
    run.end("done")

    def full(path):
        raise MlopsError("cannot store the artifact", "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(desk.house.blobs, "put_file", full)
        desk.take()
    assert desk.rows("SELECT count(*) FROM run") == [(0,)] and kept.exists()
    desk.again()
    desk.take()
    assert [one.size for one in desk.call("run.show", run="one").artifacts] == [7] and not kept.exists()


def test_a_copy_that_a_crash_left_behind_is_deleted(desk, monkeypatch):
    run = desk.run()
    kept = keep_one(run, "model", CANARY)
    with monkeypatch.context() as patched:
        # Killed after the commit, before the copy was deleted.
        patched.setattr("mlops_tui.spool.files.remove", lambda path: None)
        desk.take()
    old = time.time() - 2 * LEFT_S
    os.utime(kept, (old, old))
    leftovers(desk.house)
    assert kept.exists(), "the run goes on: its copies are not touched"
    run.end("done")
    leftovers(desk.house)
    assert kept.exists(), "its end is not read yet"
    desk.take()
    leftovers(desk.house)
    assert not kept.exists()
    assert [one.path for one in desk.call("run.show", run="one").artifacts] == ["model"]


def test_a_young_copy_is_left_alone(desk):
    run = desk.run()
    run.end("done")
    desk.take()
    file, _ = keep(run.folder, b"just kept")
    leftovers(desk.house)
    assert file.exists()


def test_the_writer_does_not_wait_for_the_sealing(desk, monkeypatch):
    run = desk.run()
    keep_one(run, "model", CANARY)
    run.end("done")
    threads = []
    put = desk.house.blobs.put_file

    def watched(path):
        threads.append(threading.current_thread().name)
        return put(path)

    monkeypatch.setattr(desk.house.blobs, "put_file", watched)
    desk.take()
    assert threads == [threading.current_thread().name]
    assert [one.size for one in desk.call("run.show", run="one").artifacts] == [len(CANARY)]


def test_the_artifact_comes_before_the_end_in_one_transaction(desk, monkeypatch):
    run = desk.run()
    keep_one(run, "model", b"weights")
    run.end("done")
    seen = []

    def look(ctx, owner, records):
        seen.append(ctx.session.value("SELECT count(*) FROM run_artifact WHERE run = ?", [owner]))

    monkeypatch.setitem(ABSORBERS, "end", [look, *ABSORBERS["end"]])
    desk.take()
    assert seen == [1], "a run that is done has its artifacts"
