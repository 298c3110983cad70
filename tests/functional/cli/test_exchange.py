"""The way in and out as a person types it: look, bring, write everything, bring that again."""

from __future__ import annotations

import json
from pathlib import Path

WANDB = Path(__file__).parents[2] / "unit" / "tracking" / "exchange" / "wandb"


def test_look_bring_write_and_bring_again(mlops, agent, tmp_path):
    looked = mlops("import", "wandb", str(WANDB), "--dry-run", "--json")
    found = json.loads(looked.stdout)["result"]
    assert looked.returncode == 0 and (found["runs"], found["new_runs"]) == (2, 2)
    assert json.loads(mlops("run", "list", "--json").stdout)["total"] == 0
    brought = mlops("import", "wandb", str(WANDB), "--json")
    told = json.loads(brought.stdout)["result"]
    assert (brought.returncode, told["new_runs"]) == (0, 2) and "import.wandb" in brought.stderr
    written = mlops("export", "--all", str(tmp_path / "out"), "--json")
    assert written.returncode == 0, written.stderr
    digest = json.loads(written.stdout)["result"]["digest"]
    again = json.loads(mlops("import", "mlflow", str(tmp_path / "out"), "--json").stdout)["result"]
    assert (again["new_runs"], again["new_points"], again["digest"]) == (0, 0, digest)


def test_every_refusal_has_its_exit_code(mlops, agent, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "thesis.tex").write_text("mine")
    for words, code, said in (
        (("import", "mlflow", "http://127.0.0.1:9"), 7, "does not answer"),
        (("import", "mlflow", str(tmp_path / "empty")), 2, "holds no experiments"),
        (("import", "mlflow", str(tmp_path / "gone")), 5, "there is no"),
        (("import", "wandb", str(tmp_path / "empty")), 2, "holds no runs"),
        (("export", str(tmp_path / "out")), 2, "nothing is chosen"),
        (("export", "--all", str(tmp_path)), 6, "is not empty"),
        (("export", "--experiment", "nope", str(tmp_path / "out")), 5, "no experiment"),
    ):
        ended = mlops(*words)
        assert (ended.returncode, said in ended.stderr) == (code, True), (words, ended.stderr)
