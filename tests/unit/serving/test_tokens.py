"""Clients' tokens: hashed, several at once, ending, read again when the file changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlops_tui.serving.protocol import tokens
from mlops_tui.serving.protocol.tokens import Tokens, hashed


def write(path: Path, *listed: tuple[str, bytes, int | None]) -> None:
    made = [{"client": c, "sha256": hashed(secret), "expires": end} for c, secret, end in listed]
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"tokens": made}))
    new.replace(path)


def test_nobody_is_asked_before_there_is_a_file_and_everybody_once_there_is(tmp_path: Path) -> None:
    found = Tokens(tmp_path / "tokens.json")
    assert not found.asked and not found.look()
    write(tmp_path / "tokens.json")
    assert found.look() and found.asked and not found.holds(b"")


def test_a_client_has_the_next_before_the_last_is_revoked(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    write(path, ("a", b"one", None))
    found = Tokens(path)
    assert found.holds(b"one") and not found.holds(b"two") and b"one" not in path.read_bytes()
    write(path, ("a", b"one", None), ("a", b"two", None))
    assert found.look() and found.holds(b"one") and found.holds(b"two") and not found.look()
    write(path, ("a", b"two", None))
    assert found.look() and not found.holds(b"one") and found.holds(b"two")


def test_a_token_ends_and_that_is_news_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Any = {"now": 1000}
    monkeypatch.setattr(tokens, "now_us", lambda: clock["now"])
    write(tmp_path / "t", ("a", b"short", 2000), ("b", b"long", 3000))
    found = Tokens(tmp_path / "t")
    assert found.holds(b"short") and not found.look()
    clock["now"] = 2000
    assert found.look() and not found.look() and not found.holds(b"short") and found.holds(b"long")


def test_what_cannot_be_read_leaves_the_tokens_and_still_asks(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("{")
    assert Tokens(path).asked and not Tokens(path).holds(b"x")
    write(path, ("a", b"one", None))
    found = Tokens(path)
    path.write_text("nonsense")
    assert not found.look() and found.holds(b"one")
    path.unlink()
    assert not found.look() and found.asked and found.holds(b"one") and not found.holds(b"two")


def test_the_deployments_own_token_is_one_more(tmp_path: Path) -> None:
    found = Tokens(tmp_path / "t", "fixed")
    assert found.asked and found.holds(b"fixed") and not found.holds(b"")
