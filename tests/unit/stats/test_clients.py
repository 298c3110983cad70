"""The harm test where clients stick: exact over all draws of a few clients, and said in words."""

from itertools import product

import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.clients import Clients
from mlops_tui.stats.harm import RATIOS, Counts, HarmSpec, analyse, evidence_of_harm, evidence_of_safety

WEIGHTS = (0.1, 0.4)


def looks_of(draw, times, later):
    """Return the looks of one draw: clients meet their first error at ``times`` [step][client], None never.

    Args:
        draw: each client's place in (0, 1): it is the canary's where this is below the weight.
        times: when they do on stable.
        later: by how much later on the canary, [step][client].
    """
    looks, spent, last = [], set(), {}
    for step, weight in enumerate(WEIGHTS):
        events = sorted(
            (when + later[step][i] * (draw[i] < weight), i)
            for i, when in enumerate(times[step])
            if when is not None and when + later[step][i] * (draw[i] < weight) < 100
        )
        for _, i in events:
            if i in spent:
                continue
            was = last.get(i, 0.0)
            canary = draw[i] < weight
            looks.append((canary, not canary, (weight - was) / (1 - was)))
            if canary:
                spent.add(i)
            else:
                last[i] = weight
    return looks


def paths(times, later):
    """Return probability and e-values after each look of every draw of the clients."""
    places = ((0.05, WEIGHTS[0]), (0.3, WEIGHTS[1] - WEIGHTS[0]), (0.9, 1 - WEIGHTS[1]))
    for chosen in product(places, repeat=len(times[0])):
        looks = looks_of([place for place, _ in chosen], times, later)
        met_c, met_s, chance = (np.array(column, float) for column in zip(*looks, strict=True))
        clients = Clients(met_c[None], met_s[None], chance, np.ones(len(looks)))
        yield np.prod([p for _, p in chosen]), np.exp(clients.log_e(1.0, RATIOS)[0])


ALIKE = [[3, 1, 1, 8, None, 4], [2, 2, 5, 1, 1, 9]]


def test_over_all_draws_the_e_value_is_one_on_average_and_keeps_alpha_at_every_look():
    none = [[0] * 6] * 2
    found = list(paths(ALIKE, none))
    assert sum(p for p, _ in found) == pytest.approx(1)
    assert sum(p * e[-1] for p, e in found) == pytest.approx(1, abs=1e-9)
    for alpha in (0.5, 0.2, 0.05):
        assert sum(p for p, e in found if e.max() >= 1 / alpha) <= alpha


def test_a_canary_that_errs_later_stays_below_that():
    later = [[5, 0, 200, 1, 0, 0], [0, 7, 0, 200, 3, 0]]
    found = list(paths(ALIKE, later))
    assert sum(p * e[-1] for p, e in found) <= 1
    assert all(sum(p for p, e in found if e.max() >= 1 / alpha) <= alpha for alpha in (0.5, 0.2, 0.05))


def test_were_a_client_counted_again_whom_the_canary_had_it_would_not_keep_alpha():
    """The proof of the test above: with the same draw in both steps the evidence is counted twice."""
    total = 0.0
    for draw, p in (((0.05, 0.05), 0.01), ((0.05, 0.9), 0.09), ((0.9, 0.05), 0.09), ((0.9, 0.9), 0.81)):
        canary = np.array([place < 0.1 for place in draw] * 2, float)
        again = Clients(canary[None], 1 - canary[None], np.full(4, 0.1), np.ones(4))
        total += p * np.exp(again.log_e(1.0, RATIOS)[0, -1])
    assert total > 1.5


def counts(first, met, n=(1000, 1000), chance=0.5, requests=5000):
    clients = Clients(*(np.array([[one]]) for one in met), [chance], [requests])
    return Counts(*([one] for one in (*first, *n)), clients)


def test_either_part_may_tell_and_each_has_half_of_alpha():
    met = evidence_of_harm(counts((10, 10), (120, 40)))[-1]
    assert met == pytest.approx(Clients([[120]], [[40]], [0.5], [1]).log_e(1.0, RATIOS)[0, 0] - np.log(2))
    first = evidence_of_harm(counts((120, 40), (10, 10)))[-1]
    assert first == pytest.approx(evidence_of_harm(Counts([120], [40], [1000], [1000]))[-1] - np.log(2))


def test_that_everybody_met_an_error_is_no_proof_of_safety():
    assert evidence_of_safety(counts((300, 100), (1000, 1000)), 1.5)[-1] < 0
    assert evidence_of_safety(counts((300, 300), (1000, 1000)), 3.0)[-1] > 4


def test_enough_is_counted_in_requests_and_the_sentence_says_clients():
    told = analyse(counts((4, 4), (120, 40), n=(150, 150), requests=500), HarmSpec(min_requests=200))
    assert told.verdict == "harm" and told.requests == 500
    assert "3.00 times as often as stable, for its share of the clients (120 clients against 40" in told.text
    held = analyse(counts((4, 4), (120, 40), requests=150), HarmSpec(min_requests=200))
    assert held.hold and held.text == "the canary has 150 of the 200 rows that a verdict needs"


def test_a_chance_that_is_none_is_refused():
    with pytest.raises(BadInput, match="impossible chance"):
        Clients([[1]], [[1]], [1.0], [1])
