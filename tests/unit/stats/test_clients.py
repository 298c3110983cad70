"""The harm test where clients stick: exact over all draws of a few clients, and said in words."""

from itertools import product

import numpy as np
import pytest

from mlops_tui.stats.clients import ALL, FIRST, GROWTH, Clients, due, log_e, share
from mlops_tui.stats.harm import Counts, HarmSpec, analyse, evidence_of_harm, evidence_of_safety

WEIGHTS = (0.1, 0.4)
CHANCES = (0.1, 0.3, 0.6)
STABLE = np.array([[0, 1], [30, 22], [2, 9], [0, 0], [400, 1]], float)
ASKED = np.array([[40, 60], [90, 50], [10, 30], [5, 0], [900, 70]], float)


def e_values(stable, canary):
    """Return probability and e of every draw of the clients: which weight each comes to the canary with, if any."""
    for came in product(range(3), repeat=len(stable)):
        there = np.arange(2) >= np.array(came)[:, None]
        e = float(np.exp(log_e(np.where(there, canary, stable), ASKED, WEIGHTS, np.array(came))))
        yield np.prod([CHANCES[c] for c in came]), e


def test_over_all_draws_e_is_one_on_average_however_clients_differ():
    found = list(e_values(STABLE, STABLE))
    assert sum(p for p, _ in found) == pytest.approx(1)
    assert sum(p * e for p, e in found) == pytest.approx(1, abs=1e-9)
    assert max(e for _, e in found) > 3, "the evidence moves at all"


@pytest.mark.parametrize("less", [0 * STABLE, STABLE // 2, STABLE * [1, 0], STABLE * [0, 1]])
def test_a_version_that_is_better_for_each_client_stays_below_that(less):
    assert sum(p * e for p, e in e_values(STABLE, less)) <= 1


def test_a_version_that_is_worse_does_not():
    assert sum(p * e for p, e in e_values(STABLE, np.minimum(3 * STABLE + 3, ASKED))) > 1.5


def test_the_evidence_is_of_clients_and_not_of_their_requests():
    """Ten clients fail always; five of them are the canary's, which ought to have one: unlikely, and no more."""
    bad, came = np.zeros((200, 1)), np.ones(200, int)
    bad[::20], came[::10] = 1000.0, 0
    came[[20, 60, 100, 140, 180]] = 1
    assert bad[came == 0].sum() == 5000
    asked = np.full((200, 1), 1000.0)
    assert log_e(bad, asked, (0.1,), came) < 6
    assert evidence_of_harm(Counts([5000], [5000], [20000], [180000]))[-1] > 1000


def test_marks_and_rollouts_stand_before_clients():
    bad = np.random.default_rng(3).poisson(2.0, (3, 4, 50, 2)).astype(float)
    asked, came = np.full((4, 50, 2), 60.0), np.random.default_rng(4).integers(0, 3, (4, 50))
    found = log_e(bad, asked, WEIGHTS, came)
    assert found.shape == (3, 4)
    assert found[2, 1] == pytest.approx(float(log_e(bad[2, 1], asked[1], WEIGHTS, came[1])))


def test_the_shares_of_all_times_are_alpha():
    assert share(np.arange(1, 1_000_000)).sum() == pytest.approx(1, abs=1e-4)
    assert share(1) > share(2) > share(30) > 0.001


def test_it_is_asked_again_when_an_eighth_more_has_come():
    assert due(100, 0) and due(GROWTH * 100, 100) and not due(112, 100)


def counts(first, log_es, every=((120, 40), (2500, 2500)), n=(1000, 1000)):
    looks = len(log_es)
    (bad_c, bad_s), (n_c, n_s) = ([np.full(looks, one / looks) for one in of] for of in every)
    parts = [np.full(looks, one / looks) for one in (*first, *n)]
    return Counts(*parts, Clients(log_es, bad_c[None], bad_s[None], n_c, n_s))


def test_each_time_counts_at_its_share_until_the_next():
    found = evidence_of_harm(counts((10, 10), [np.nan, 9.0, np.nan, 8.0, np.nan]))
    second, third = 9 + np.log(ALL * share(1)), 8 + np.log(ALL * share(2))
    assert found[1:] == pytest.approx([second, second, third, third])
    assert found[0] < 0


def test_either_part_may_tell_and_each_has_its_share_of_alpha():
    first = evidence_of_harm(counts((120, 40), [0.0]))[-1]
    assert first == pytest.approx(evidence_of_harm(Counts([120], [40], [1000], [1000]))[-1] + np.log(FIRST))


def test_that_clients_are_alike_is_no_proof_of_safety_first_requests_are():
    assert evidence_of_safety(counts((30, 10), [-50.0]), 1.5)[-1] < 0
    assert evidence_of_safety(counts((300, 300), [50.0]), 3.0)[-1] > 4


def test_requests_are_told_and_that_clients_were_judged():
    told = analyse(counts((4, 4), [30.0], n=(150, 150)), HarmSpec(min_requests=200))
    assert told.verdict == "harm" and told.n_c == 2500
    assert "3.00 times as often as stable (120 of 2,500 against 40 of 2,500, judged client by client)" in told.text
    held = analyse(counts((4, 4), [30.0], every=((120, 40), (150, 500))), HarmSpec(min_requests=200))
    assert held.hold and held.text == "the canary has 150 of the 200 rows that a verdict needs"
