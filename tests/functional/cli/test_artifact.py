"""Files between this machine and the store: whole or not at all, nothing replaced, errors with their exit codes."""

from __future__ import annotations

import os

from mlops_tui.cli.app import run


def test_files_go_in_and_come_out(agent, tmp_path, monkeypatch, capfdbinary):
    client = agent.client()
    made = client.call("run.create", {"name": "r1", "experiment": "Default"}).id
    monkeypatch.chdir(tmp_path)
    content = os.urandom(2_500_000)
    (tmp_path / "big").write_bytes(content)

    assert run(["artifact", "put", "r1", "big", "deep/big.bin"]) == 0
    assert run(["artifact", "put", made, "big"]) == 0
    assert run(["artifact", "get", "r1", "deep/big.bin", "back"]) == 0
    assert (tmp_path / "back").read_bytes() == content
    capfdbinary.readouterr()
    assert run(["artifact", "get", "r1", "big", "-"]) == 0
    assert capfdbinary.readouterr().out == content
    assert run(["artifact", "get", "r1", "", "all"]) == 0
    assert sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("all/**/*")) == [
        "all/big", "all/deep", "all/deep/big.bin",
    ]  # fmt: skip

    for words, code in (
        (["get", "r1", "big"], 6),  # it lies here already
        (["get", "r1", "none"], 5),
        (["get", "r1", "deep", "-"], 2),
        (["put", "r1", "nothing"], 2),
        (["put", "r1", "big", "../x"], 2),
        (["put", "r1", "big", "deep"], 2),  # a folder lies there
        (["get", "nobody", "big"], 5),
    ):
        assert run(["artifact", *words]) == code, words
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_file()) == ["back", "big"]
