"""The bounds of the gates: built in, or from a file that is read with care."""

from __future__ import annotations

import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.pipelines.gates.policy import DEFAULT, load_policy


def test_without_a_file_the_built_in_bounds_hold():
    policy = load_policy("")
    assert policy == DEFAULT
    policy["quality"]["min_auc"] = 0
    assert DEFAULT["quality"]["min_auc"] > 0


def test_a_file_changes_what_it_names_and_may_bound_gates_of_plugins(tmp_path):
    file = tmp_path / "gates.yaml"
    file.write_text("quality: {min_auc: 0.9}\nenergy: {max_wh: many}\n")
    policy = load_policy(str(file))
    assert policy["quality"] == {**DEFAULT["quality"], "min_auc": 0.9}
    assert policy["fairness"] == DEFAULT["fairness"]
    assert policy["energy"] == {"max_wh": "many"}


def test_the_sample_s_policy_is_one():
    from pathlib import Path

    assert load_policy(str(Path(__file__).parents[3] / "sample_data/project/gates.yaml"))["quality"]["min_auc"] == 0.8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quality: {min_auk: 0.9}", "the gate quality has no bound min_auk"),
        ("quality: {min_auc: high}", "quality.min_auc is 'high'"),
        ("quality: {min_auc: true}", "quality.min_auc is True"),
        ("quality: {min_auc: .nan}", "quality.min_auc is nan"),
        ("quality: {min_auc: -1}", "quality.min_auc is -1"),
        ("quality: 0.9", "is not a gate policy"),
        ("- quality", "is not a gate policy"),
        ("", "is not a gate policy"),
        ("quality: {min_auc: [", "cannot read the policy"),
        ("\0", "cannot read the policy"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, said):
    file = tmp_path / "gates.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        load_policy(str(file))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match="cannot read the policy"):
        load_policy(str(tmp_path / "none.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"quality: \xff")
    with pytest.raises(BadInput, match="cannot read the policy"):
        load_policy(str(tmp_path / "latin.yaml"))
