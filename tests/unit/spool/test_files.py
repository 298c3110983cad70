"""The spool folder: finding, keeping and removing files."""

from __future__ import annotations

import os
import stat
import time

import pytest

from mlops_tui.core.errors import Refused
from mlops_tui.spool.files import keep, kept_file, remove, scan
from mlops_tui.spool.writer import Writer


def test_scan_finds_the_event_files_and_nothing_else(tmp_path):
    assert scan(tmp_path / "none") == []
    second = Writer(tmp_path, "b")
    first = Writer(tmp_path, "a")
    later = Writer(tmp_path, "a", start=False)
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / "host-x-1.jsonl").write_text("x")
    (tmp_path / "a" / "host-1-2.jsonl").mkdir()
    os.symlink("/etc/passwd", tmp_path / "a" / "host-1-3.jsonl")
    os.symlink("/etc", tmp_path / "linked")
    (tmp_path / "file").write_text("x")
    found = scan(tmp_path)
    assert [one.path for one in found] == [first.path, later.path, second.path]
    assert [one.owner for one in found] == ["a", "a", "b"]
    one = found[0]
    assert one.pid == os.getpid() and one.size == first.path.stat().st_size and abs(one.mtime / 1e6 - time.time()) < 60
    assert one.host and one.started <= found[1].started


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_kept_files_are_whole_private_and_recognised(tmp_path, kind):
    (tmp_path / "model.bin").write_bytes(b"weights" * 100_000)
    source = b"weights" * 100_000 if kind == "bytes" else tmp_path / "model.bin"
    spool = tmp_path / "spool"
    path, size = keep(spool / "r", source)
    assert size == 700_000 and path.read_bytes() == b"weights" * 100_000 and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept_file(spool, "r", str(path)) == path
    assert list(path.parent.iterdir()) == [path], "no temporary file is left"


def test_a_source_that_cannot_be_read_leaves_nothing(tmp_path):
    with pytest.raises(OSError):
        keep(tmp_path / "r", tmp_path / "missing")
    assert list((tmp_path / "r" / "files").iterdir()) == []


def test_a_record_that_names_any_other_file_is_refused(tmp_path):
    spool = tmp_path / "spool"
    path, _ = keep(spool / "r", b"x")
    os.symlink("/etc/passwd", path.parent / "link")
    outside = tmp_path / "outside"
    outside.write_text("x")
    for file in (
        "/etc/passwd",
        str(outside),
        str(path.parent / "link"),
        f"{path.parent}/../../../outside",
        str(path) + "x",
        "rel",
    ):
        with pytest.raises(Refused):
            kept_file(spool, "r", file)
    with pytest.raises(Refused):
        kept_file(spool, "other", str(path))
    (spool / "s").mkdir()
    os.symlink(tmp_path, spool / "s" / "files")
    with pytest.raises(Refused):
        kept_file(spool, "s", str(spool / "s" / "files" / "outside"))


def test_removing_takes_empty_folders_along_and_nothing_more(tmp_path):
    writer = Writer(tmp_path, "r")
    path, _ = keep(writer.folder, b"x")
    remove(writer.path)
    assert path.exists(), "a kept file is still wanted"
    remove(path)
    remove(path)
    assert not writer.folder.exists() and tmp_path.exists()
