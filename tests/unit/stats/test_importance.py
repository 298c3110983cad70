from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import importance, quality


def model(columns):
    z = (
        2.0 * columns["strong"]
        + 0.7 * columns["weak"]
        + (columns["word"] == "yes") * 1.0
        + columns["block"] @ [1.0, 1.0]
    )
    return 1 / (1 + np.exp(-z))


def table(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    columns = {
        "noise": rng.normal(size=n),
        "weak": rng.normal(size=n),
        "strong": rng.normal(size=n),
        "word": rng.choice(np.array(["yes", "no"], object), n),
        "block": rng.normal(size=(n, 2)),
    }
    return columns, (rng.random(n) < model(columns)).astype(int)


def test_features_are_ranked_and_shares_sum_to_one():
    columns, y = table()
    found = importance.permutation(model, columns, y)
    assert [one.name for one in found.features] == ["strong", "block", "weak", "word", "noise"]
    assert [one.rank for one in found.features] == [1, 2, 3, 4, 5]
    assert sum(one.share for one in found.features) == pytest.approx(1.0)
    assert found.features[0].share > 0.4
    assert (found.features[-1].share, found.features[-1].drop) == (0.0, 0.0)
    assert found.base_score == pytest.approx(-quality.log_losses(y, model(columns)).mean())
    assert (found.complete, found.missing, found.rows) == (True, (), 1500)
    assert msgspec.json.decode(msgspec.json.encode(found), type=importance.Importance) == found


def test_negative_drops_are_clipped():
    columns, y = table()
    found = importance.permutation(lambda c: 1 - model(c), columns, y)
    assert found.features[-1].name == "strong"
    assert found.features[-1].drop < 0
    assert all(one.share == 0.0 for one in found.features)


def test_a_misleading_feature_has_no_share():
    columns, y = table()
    misled = importance.permutation(lambda c: model({**c, "weak": -c["weak"]}), columns, y)
    assert misled.features[-1].name == "weak"
    assert misled.features[-1].drop < 0
    assert misled.features[-1].share == 0.0
    assert sum(one.share for one in misled.features) == pytest.approx(1.0)


def test_the_seed_decides_and_batches_do_not():
    columns, y = table()
    first = importance.permutation(model, columns, y, seed=3, max_rows=400)
    assert first == importance.permutation(model, columns, y, seed=3, max_rows=400, batch=1)
    assert first == importance.permutation(model, columns, y, seed=3, max_rows=400, batch=10**9)
    assert first != importance.permutation(model, columns, y, seed=4, max_rows=400)
    assert first.rows == 400


def test_batches_are_bounded():
    columns, y = table()
    seen = []

    def watched(c):
        seen.append(len(c["weak"]))
        return model(c)

    importance.permutation(watched, columns, y, max_rows=100, repeats=2, batch=350)
    assert seen == [100, 300, 300, 300, 100]


def test_the_time_limit_is_kept_and_said():
    columns, y = table()
    ticks = iter(range(100))
    found = importance.permutation(
        model, columns, y, repeats=3, batch=1, limit_s=8.5, clock=lambda: float(next(ticks)), max_rows=200
    )
    assert not found.complete
    assert found.missing == ()
    assert sorted(one.repeats for one in found.features) == [1, 1, 2, 2, 2]
    ticks = iter(range(100))
    early = importance.permutation(model, columns, y, batch=1, limit_s=2.5, clock=lambda: float(next(ticks)))
    assert early.missing == ("strong", "word", "block")
    assert sum(one.share for one in early.features) == pytest.approx(1.0)


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2000, 3))
    y = (x @ [1.5, 0.5, 0.0] + rng.normal(size=2000) > 0).astype(int)
    fitted = LogisticRegression().fit(x, y)
    theirs = permutation_importance(fitted, x, y, scoring="accuracy", n_repeats=20, random_state=0).importances_mean
    ours = importance.permutation(
        lambda c: fitted.predict(np.stack(list(c.values()), axis=1)),
        {name: x[:, i] for i, name in enumerate("abc")},
        y,
        score=lambda truth, guess: float((truth == guess).mean()),
        repeats=20,
    )
    drops = {one.name: one.drop for one in ours.features}
    assert [drops[name] for name in "abc"] == pytest.approx(theirs, abs=0.012)


@pytest.mark.parametrize(("columns", "y"), [({}, [1]), ({"a": np.ones(2)}, [1]), ({"a": np.ones(0)}, [])])
def test_bad_input_is_refused(columns, y):
    with pytest.raises(BadInput):
        importance.permutation(lambda c: c["a"], columns, y)
