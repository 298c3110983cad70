"""Which commit the code of a run was: asked of git within a second, else read from its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

TIMEOUT_S = 1.0


def git_state(folder: Path) -> dict[str, Any]:
    """Return ``sha``, ``branch`` (empty when detached) and ``dirty`` of the repository around a folder.

    ``dirty`` tells whether a tracked file differs from the commit; None when git is not there or too slow. Outside
    a repository the answer is empty. Never raises.
    """
    try:
        folder = folder.resolve()
        root = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
        return (_asked(root) or _read(root)) if root else {}
    except Exception:  # whatever a repository's files hold: a run starts nevertheless
        return {}


def _asked(root: Path) -> dict[str, Any] | None:
    import subprocess

    # No lock is taken and no helper started: the repository may be in use, or somebody else's.
    command = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    said = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    branch = said.get("branch.head", "")
    sha = said.get("branch.oid", "")
    return {
        "sha": "" if sha == "(initial)" else sha,
        "branch": "" if branch == "(detached)" else branch,
        "dirty": any(not line.startswith("#") for line in lines),
    }


def _read(root: Path) -> dict[str, Any]:
    """Read commit and branch from git's own files (gitrepository-layout(5)), work trees included."""
    git = root / ".git"
    if git.is_file():
        git = root / git.read_text().removeprefix("gitdir:").strip()
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return {"sha": head, "branch": "", "dirty": None}
    ref = head.removeprefix("ref: ")
    common = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
    return {"sha": _resolve(common, ref), "branch": ref.removeprefix("refs/heads/"), "dirty": None}


def _resolve(common: Path, ref: str) -> str:
    if (common / ref).is_file():
        return (common / ref).read_text().strip()
    packed = common / "packed-refs"
    for line in packed.read_text().splitlines() if packed.is_file() else ():
        sha, _, name = line.partition(" ")
        if name == ref:
            return sha
    return ""
