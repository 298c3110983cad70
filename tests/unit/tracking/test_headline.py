"""Which metric stands for a run."""

from __future__ import annotations

import duckdb
import pytest

from mlops_tui.tracking.runs.headline import LOWER_IS_BETTER_SQL, headline, lower_is_better


@pytest.mark.parametrize(
    ("keys", "want"),
    [
        (["loss", "accuracy", "val/auc"], "val/auc"),
        (["loss", "val_loss", "train_loss"], "loss"),
        (["train_loss", "val_loss"], "val_loss"),
        (["accumulated", "loss"], "loss"),
        (["lr", "epoch"], "epoch"),
        (
            ["mean_fit_time", "mean_score_time", "rank_test_score", "std_test_score", "mean_test_score"],
            "mean_test_score",
        ),
        (["auc_time", "whatever"], "whatever"),
        (["training_f1", "val_f1"], "val_f1"),
        (["system/cpu"], None),
        ([], None),
    ],
)
def test_quality_goes_before_loss_and_loss_before_anything(keys, want):
    assert headline(keys) == want
    assert headline(reversed(keys)) == want


@pytest.mark.parametrize(("key", "lower"), [("val_loss", True), ("RMSE", True), ("auc", False), ("lossless", False)])
def test_words_tell_whether_less_is_better_in_python_and_in_sql(key, lower):
    assert lower_is_better(key) is lower
    assert duckdb.execute(f"SELECT {LOWER_IS_BETTER_SQL} FROM (SELECT ? AS metric)", [key]).fetchone() == (lower,)
