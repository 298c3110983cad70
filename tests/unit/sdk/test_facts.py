"""What is captured, and that a repository or machine of any state is survived."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from mlops_tui.sdk import checkpoint, facts, git


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    root = tmp_path / "repo"
    (root / "src").mkdir(parents=True)
    (root / "train.py").write_text("1")

    def run(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
        done = subprocess.run(
            ["git", *identity, *words], cwd=root, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout.strip()

    run("init")
    run("add", ".")
    run("commit", "-m", "one")
    return root, run


def test_git_state_of_a_clean_and_a_changed_tree(repository):
    root, run = repository
    sha = run("rev-parse", "HEAD")
    assert git.git_state(root / "src") == {"sha": sha, "branch": "main", "dirty": False}
    (root / "train.py").write_text("2")
    assert git.git_state(root) == {"sha": sha, "branch": "main", "dirty": True}
    run("checkout", "--detach")
    assert git.git_state(root)["branch"] == ""


def test_git_state_without_git_is_read_from_the_files(repository, monkeypatch):
    root, run = repository
    sha = run("rev-parse", "HEAD")
    run("worktree", "add", "-b", "feature/x", str(root.parent / "tree"))
    monkeypatch.setenv("PATH", "")
    assert git.git_state(root) == {"sha": sha, "branch": "main", "dirty": None}
    assert git.git_state(root.parent / "tree") == {"sha": sha, "branch": "feature/x", "dirty": None}


def test_git_state_of_packed_refs_and_detached_heads(repository, monkeypatch):
    root, run = repository
    sha = run("rev-parse", "HEAD")
    run("pack-refs", "--all")
    monkeypatch.setattr(git, "_asked", lambda _: None)
    assert git.git_state(root) == {"sha": sha, "branch": "main", "dirty": None}
    run("checkout", "--detach")
    assert git.git_state(root) == {"sha": sha, "branch": "", "dirty": None}


def test_a_slow_git_is_not_waited_for(repository, tmp_path, monkeypatch):
    root, _ = repository
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "TIMEOUT_S", 0.2)
    begun = time.monotonic()
    assert git.git_state(root)["branch"] == "main" and time.monotonic() - begun < 5


def test_no_repository_and_a_broken_one(tmp_path):
    assert git.git_state(tmp_path / "nowhere") == {}
    (tmp_path / ".git").write_text("gitdir: /nonexistent")
    assert git.git_state(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["t.py", "--lr", "0.1", "--max-tokens", "512", "--pad-token", "x", "--tokenizer=bert"], None),
        (
            ["t.py", "--hf-token", "abc", "--api_key=k", "password=p"],
            "t.py --hf-token '***' '--api_key=***' 'password=***'",
        ),
        (["t.py", "--db", "postgres://me:pw@host/db"], "t.py --db 'postgres://***@host/db'"),
        (["t.py", "--secret", "--flag"], None),
    ],
)
def test_secrets_on_the_command_line_are_masked(monkeypatch, words, shown):
    monkeypatch.setattr(sys, "orig_argv", words)
    assert facts.command() == (" ".join(words) if shown is None else shown)


def test_seeds_that_can_be_seen():
    state, legacy = random.getstate(), np.random.get_state()
    try:
        random.seed(5)
        np.random.seed(42)
        first = facts.seeds()
        assert first["numpy.random"] == "42" and random.getstate() == random.Random(5).getstate(), (
            "looking changes nothing"
        )
        random.seed(5)
        assert facts.seeds()["random"] == first["random"]
        np.random.rand()
        random.random()
        later = facts.seeds()
        assert later["random"] != first["random"] and later["numpy.random"].startswith("state:")
    finally:
        random.setstate(state)
        np.random.set_state(legacy)


def test_control_group_limits(tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("536870912\n")
    assert facts._cpu_quota(tmp_path) == 0.5 and facts._memory_limit(tmp_path) == 536870912
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert facts._cpu_quota(tmp_path) is None and facts._memory_limit(tmp_path) is None
    old = tmp_path / "v1"
    old.mkdir()
    for name, text in (
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.cfs_period_us", "100000"),
        ("memory.limit_in_bytes", str(2**63 - 4096)),
    ):
        (old / name).write_text(text)
    assert facts._cpu_quota(old) is None and facts._memory_limit(old) is None


def test_the_digest_of_packages_follows_what_is_installed(tmp_path, monkeypatch):
    (tmp_path / "a-1.0.dist-info").mkdir()
    (tmp_path / "b_c-2.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path), "/nonexistent"])
    assert facts.packages() == "sha256:" + hashlib.sha256(b"a-1.0\nb-c-2").hexdigest()
    (tmp_path / "b_c-2.dist-info").rename(tmp_path / "b_c-3.dist-info")
    assert facts.packages() == "sha256:" + hashlib.sha256(b"a-1.0\nb-c-3").hexdigest()


def test_a_machine_without_gpus_has_no_tag_for_them(monkeypatch):
    monkeypatch.setattr(facts, "gpus", lambda: (_ for _ in ()).throw(OSError("no driver")))
    assert set(facts.later()) == {"env.packages"}
    monkeypatch.setattr(facts, "gpus", lambda: ["A100", "A100"])
    assert facts.later()["hardware.gpus"] == "2" and facts.later()["hardware.gpu"] == "A100"


def test_checkpoints_are_whole_or_the_old_ones(tmp_path, monkeypatch, capsys):
    assert (
        checkpoint.checkpoint_dir() is None
        and checkpoint.save_checkpoint(b"x") is None
        and checkpoint.latest_checkpoint() is None
    )
    monkeypatch.setenv("MLOPS_CKPT_DIR", str(tmp_path / "a" / "ckpt"))
    assert checkpoint.latest_checkpoint() is None
    path = checkpoint.save_checkpoint(b"one")
    assert (
        path == checkpoint.latest_checkpoint() == tmp_path / "a" / "ckpt" / "last.ckpt" and path.read_bytes() == b"one"
    )

    os.link(path, tmp_path / "as it was opened before")
    checkpoint.save_checkpoint(b"two")
    assert path.read_bytes() == b"two" and (tmp_path / "as it was opened before").read_bytes() == b"one", (
        "never in place"
    )

    def half(file):
        file.write(b"tw")
        raise OSError(28, "No space left on device")

    assert (
        checkpoint.save_checkpoint(half) is None
        and path.read_bytes() == b"two"
        and "No space" in capsys.readouterr().err
    )
    with pytest.raises(ZeroDivisionError):
        checkpoint.save_checkpoint(lambda file: 1 / 0)
    assert checkpoint.save_checkpoint(lambda file: file.write(b"three")).read_bytes() == b"three"
    assert os.listdir(path.parent) == ["last.ckpt"]
