"""Simulated rollouts, judged by the product's own tests: ``rollout_simulation.py [rollouts]``.

How many harmless canaries are rolled back, familywise over errors, latency and quality, in steady, bursty and troubled
traffic, and with clients that stick to a version and differ among each other; how soon a harmful one is caught and how
many bad answers it gave by then; and what one would get from a test that may not be repeated, or that counts requests
where clients stick. Thirty looks, weights 5, 25 and 50 % for ten looks each, alpha 0.05 shared by three checks.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

import numpy as np

from mlops_tui.stats.clients import Clients, due, log_e
from mlops_tui.stats.harm import Counts, evidence_of_harm
from mlops_tui.stats.likelihood import log_mean

LOOKS, ALPHA, CHECKS, LEAST = 30, 0.05, 3, 200
PART = 100
"""Rollouts of sticky clients that are simulated at once."""
NEEDED = np.log(CHECKS / ALPHA)
WEIGHTS = np.repeat([0.05, 0.25, 0.5], 10)
LATENCIES = np.array([0.5, 0.25, 0.15, 0.05, 0.04, 0.01])
"""Shares of requests between stable's quantiles 0, 0.5, 0.75, 0.9, 0.95, 0.99 and 1."""
WRONG = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
"""How much of a request's rows may turn out wrong."""


class Traffic(NamedTuple):
    """How requests come.

    Args:
        per_look: requests a look on average.
        shape: of the gamma distribution by which looks differ in number (1: from next to none to many times as many);
            0: Poisson.
        burst: requests that fail, are slow or are wrong together.
        incident: share of the looks in which everything goes wrong on both sides.
        error: share of requests on which the model fails.
    """

    per_look: float
    shape: float = 0.0
    burst: float = 1.0
    incident: float = 0.0
    error: float = 0.01


STEADY = Traffic(1200)
BURSTY = Traffic(1200, shape=0.5, burst=40, incident=0.1)
SPARSE = Traffic(120, shape=1.0, burst=10, incident=0.1)
FREQUENT = Traffic(1200, shape=1.0, burst=40, incident=0.2, error=0.2)


def requests(traffic: Traffic, rollouts: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return how many requests each look has, and how many of them the canary got: [rollouts, looks]."""
    size = (rollouts, LOOKS)
    rate = traffic.per_look * (rng.gamma(traffic.shape, 1 / traffic.shape, size) if traffic.shape else np.ones(size))
    n = rng.poisson(rate)
    return n, rng.binomial(n, WEIGHTS)


def kinds(n: np.ndarray, shares: np.ndarray, burst: float, rng: np.random.Generator) -> np.ndarray:
    """Return how many requests of a look are of each kind, [kinds, rollouts, looks].

    With bursts the shares of a look are drawn themselves: as if so many requests had one fate together.
    """
    if burst > 1:
        drawn = rng.gamma(np.maximum(shares * np.maximum(n, 1)[..., None] / burst, 1e-3))
        shares = drawn / np.maximum(drawn.sum(axis=-1, keepdims=True), 1e-300)
    return np.moveaxis(rng.multinomial(n, shares), -1, 0)


def shared_out(of_kind: np.ndarray, n_c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how many of each kind the canary got, when chance alone decides who gets a request."""
    left, room = of_kind.sum(axis=0), n_c.copy()
    got = np.empty_like(of_kind)
    for kind, count in enumerate(of_kind):
        got[kind] = rng.hypergeometric(count, left - count, room)
        left, room = left - count, room - got[kind]
    return got


def troubled(base: np.ndarray, incident: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """Return the shares of each look: the usual ones, or those of an incident."""
    return np.where(incident[..., None], worst, base)


def harmless(traffic: Traffic, rollouts: int, rng: np.random.Generator) -> dict[str, Counts]:
    """Return what the looks at a canary that is no worse than stable see."""
    n, n_c = requests(traffic, rollouts, rng)
    incident = rng.random(n.shape) < traffic.incident
    usual = {
        "error": (np.array([1 - traffic.error, traffic.error]), np.array([0.7, 0.3])),
        "latency": (LATENCIES, LATENCIES[::-1]),
        "wrong": (np.array([0.6, 0.2, 0.1, 0.05, 0.05]), np.array([0.1, 0.1, 0.2, 0.2, 0.4])),
    }
    found = {}
    for check, (base, worst) in usual.items():
        of_kind = kinds(n, troubled(base, incident, worst), traffic.burst, rng)
        found[check] = counts(check, shared_out(of_kind, n_c, rng), of_kind, n_c, n)
    return found


def counts(check: str, canary: np.ndarray, both: np.ndarray, n_c: np.ndarray, n: np.ndarray) -> Counts:
    """Return a check's counts from the kinds of requests."""
    if check == "latency":  # beyond each mark lies every kind from there on
        beyond = [np.cumsum(one[::-1], axis=0)[::-1][1:] for one in (canary, both - canary)]
        return Counts(*beyond, n_c, n - n_c)
    weights = WRONG if check == "wrong" else np.array([0.0, 1.0])
    return Counts(*(np.tensordot(weights, one, 1) for one in (canary, both - canary)), n_c, n - n_c)


def rolled_back(found: dict[str, Counts]) -> tuple[np.ndarray, np.ndarray]:
    """Return which rollouts were rolled back, and at which look (the number of looks where none was)."""
    hits = [(evidence_of_harm(one) > NEEDED) & (np.cumsum(one.requests, axis=-1) >= LEAST) for one in found.values()]
    any_hit = np.logical_or.reduce(hits)
    back = any_hit.any(axis=-1)
    return back, np.where(back, any_hit.argmax(axis=-1), LOOKS)


def upper(k: int, n: int, confidence: float = 0.95) -> float:
    """Return the Clopper–Pearson upper bound of a share of which k of n were seen."""
    from scipy import special

    return 1.0 if k == n else float(special.betaincinv(k + 1, n - k, confidence))


class Caught(NamedTuple):
    """How a harmful canary fared: share caught, looks until then and bad answers by then (median, 95 %)."""

    share: float
    looks: tuple[float, float]
    bad: tuple[float, float]


def harmful(traffic: Traffic, ratio: float, rollouts: int, rng: np.random.Generator) -> Caught:
    """Return how a canary that fails ``ratio`` times as often is caught, judged for errors beside two other checks."""
    n, n_c = requests(traffic, rollouts, rng)
    bad_c, bad_s = rng.binomial(n_c, traffic.error * ratio), rng.binomial(n - n_c, traffic.error)
    back, at = rolled_back({"error": Counts(bad_c, bad_s, n_c, n - n_c)})
    served = np.take_along_axis(np.cumsum(bad_c, axis=-1), np.minimum(at, LOOKS - 1)[:, None], -1)[:, 0]
    quantiles = [tuple(np.quantile(of[back], [0.5, 0.95])) for of in (at + 1, served)]
    return Caught(float(back.mean()), *quantiles)


def slow(traffic: Traffic, factor: float, rollouts: int, rng: np.random.Generator) -> Caught:
    """Return how a canary whose latencies are ``factor`` beyond what is allowed is caught (lognormal, sigma 0.5)."""
    from scipy import special

    n, n_c = requests(traffic, rollouts, rng)
    tails = 1 - np.cumsum(LATENCIES)[:-1]
    slower = special.ndtr(special.ndtri(tails) + np.log(factor) / 0.5)
    bad = []
    for shares, of in ((slower, n_c), (tails, n - n_c)):
        parts = -np.diff([1.0, *shares, 0.0])
        bad.append(np.cumsum(kinds(of, parts, 1, rng)[::-1], axis=0)[::-1][1:])
    back, at = rolled_back({"latency": Counts(*bad, n_c, n - n_c)})
    served = np.take_along_axis(np.cumsum(n_c, axis=-1), np.minimum(at, LOOKS - 1)[:, None], -1)[:, 0]
    return Caught(float(back.mean()), *(tuple(np.quantile(of[back], [0.5, 0.95])) for of in (at + 1, served)))


def peeking(traffic: Traffic, rollouts: int, rng: np.random.Generator) -> float:
    """Return how many harmless canaries a z-test at 5 %, asked at every look, would roll back for errors alone."""
    one = harmless(traffic, rollouts, rng)["error"]
    bad_c, bad_s, n_c, n_s = (np.cumsum(x, axis=-1) for x in (one.bad_c[0], one.bad_s[0], one.n_c, one.n_s))
    pooled = (bad_c + bad_s) / np.maximum(n_c + n_s, 1)
    error = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(n_c, 1) + 1 / np.maximum(n_s, 1)))
    z = (bad_c / np.maximum(n_c, 1) - bad_s / np.maximum(n_s, 1)) / np.maximum(error, 1e-12)
    return float(((z > 1.645) & (n_c >= LEAST)).any(axis=-1).mean())


class Crowd(NamedTuple):
    """Clients that stick to a version.

    Args:
        clients: how many there are.
        worst: share of them that is troubled.
        error: share of the requests that fail: of the usual clients, of the troubled ones.
        slow: share of the requests that are slow; likewise.
        wrong: share of the predictions that are wrong; likewise.
        even: they ask equally often; else as in Zipf's law, a few of them most of the time.
        burst: a client's requests that fail, are slow or are wrong together.
    """

    clients: int
    worst: float = 0.05
    error: tuple[float, float] = (0.0005, 0.2)
    slow: tuple[float, float] = (0.05, 0.5)
    wrong: tuple[float, float] = (0.1, 0.6)
    even: bool = True
    burst: float = 1.0


def crowds(
    crowd: Crowd,
    rollouts: int,
    rng: np.random.Generator,
    per_look: float = 1200,
    ratio: float = 1.0,
    only: str = "",
    pace: float = 1.0,
) -> tuple[dict[str, Counts], dict[str, Counts]]:
    """Return what looks see of clients that the router draws by their keys, and of their requests one by one.

    Args:
        crowd: the clients.
        rollouts: how many.
        rng: draws.
        per_look: requests a look on average.
        ratio: errors of the canary against stable's; 1: harmless.
        only: the check that is looked at; empty: all three.
        pace: how many times as often clients ask the canary, as loops do that ask again at once.
    """
    size = (rollouts, crowd.clients)
    troubled = rng.random(size) < crowd.worst
    often = np.ones(size) if crowd.even else rng.permuted(np.broadcast_to(1 / np.arange(1, size[1] + 1), size), axis=1)
    often = often * per_look / often.sum(axis=1, keepdims=True)
    place = rng.random(size)
    marks = {"error": [crowd.error], "latency": [(0.5, 0.8), crowd.slow], "wrong": [crowd.wrong]}
    books = {check: [_Book(place) for _ in of] for check, of in marks.items() if not only or check == only}
    plain: dict[str, list[tuple[np.ndarray, ...]]] = {check: [] for check in books}
    asked_before = np.zeros(size, bool)
    for look, weight in enumerate(WEIGHTS):
        if look and weight != WEIGHTS[look - 1]:
            asked_before[:] = False
            for book in (one for of in books.values() for one in of):
                book.next_step(WEIGHTS[look - 1])
        canary = place < weight
        n = rng.poisson(often * np.where(canary, pace, 1.0))
        opens = (n > 0) & ~asked_before
        asked_before |= n > 0
        for check, of in books.items():
            both = []
            for book, (usual, worst) in zip(of, marks[check], strict=True):
                p = np.where(troubled, worst, usual) * np.where(canary & (check == "error"), ratio, 1.0)
                bad = _failed(n, np.minimum(p, 1.0), crowd.burst, rng)
                first = opens & (rng.random(size) * np.maximum(n, 1) < bad)  # each request is as likely the first
                book.looked(canary, opens, first, bad, n, weight)
                both.append(np.stack([(bad * canary).sum(axis=1), (bad * ~canary).sum(axis=1)]))
            plain[check].append((np.stack(both), (n * canary).sum(axis=1), (n * ~canary).sum(axis=1)))
    requests = {c: _by_requests(of) for c, of in plain.items()}
    return {c: _by_clients(of, requests[c]) for c, of in books.items()}, requests


def _failed(n: np.ndarray, p: np.ndarray, burst: float, rng: np.random.Generator) -> np.ndarray:
    """Return how many of a client's requests are bad; in bursts, as if so many had one fate together."""
    if burst > 1:
        p = np.minimum(rng.gamma(np.maximum(p * n / burst, 1e-9)) * burst / np.maximum(n, 1), 1.0)
    return rng.binomial(n, p)


class _Book:
    """What a check has counted of clients at one mark, as ``deploy.rollout`` keeps and asks for it."""

    def __init__(self, place: np.ndarray) -> None:
        size = place.shape
        self.now, self.spent, self.side = np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, bool)
        self.last = np.zeros(size)  # weight of the step of the last time on stable
        self.came = np.searchsorted(np.unique(WEIGHTS), place, side="right")
        self.bad, self.asked = ([np.zeros(size) for _ in np.unique(WEIGHTS)] for _ in range(2))
        self.parts: list[list[np.ndarray]] = []
        self.log_e: list[np.ndarray] = []
        self.total, self.expected, self.before = 0.0, 0.0, 0.0

    def next_step(self, weight: float) -> None:
        self.spent |= self.now & self.side
        self.last = np.where(self.now & ~self.side, weight, self.last)
        self.now[:] = False

    def looked(
        self, canary: np.ndarray, opens: np.ndarray, first: np.ndarray, bad: np.ndarray, n: np.ndarray, weight: float
    ) -> None:
        """Count first requests by the weight at which clients were last counted on stable, and ask when it is due."""
        self.side = canary
        parts = []
        for before in (0.0, *np.unique(WEIGHTS)[:-1]):
            here = opens & ~self.spent & (self.last == before)
            parts.append([(mask & side).sum(axis=1) for mask in (here & first, here) for side in (canary, ~canary)])
        self.parts.append(np.array(parts))
        self.now |= opens
        step = int(np.searchsorted(np.unique(WEIGHTS), weight))
        self.bad[step] += bad
        self.asked[step] += n
        self.log_e.append(self._asked(n.sum(axis=1).mean(), weight))

    def _asked(self, requests: float, weight: float) -> np.ndarray:
        self.total, self.expected = self.total + requests, self.expected + requests * weight
        if self.expected < LEAST or not due(self.total, self.before):
            return np.full(len(self.came), np.nan)
        self.before = self.total
        shown = int(np.searchsorted(np.unique(WEIGHTS), weight)) + 1
        bad, asked = (np.stack(of[:shown], axis=-1) for of in (self.bad, self.asked))
        return log_e(bad, asked, np.unique(WEIGHTS)[:shown], np.minimum(self.came, shown))


def _by_clients(books: list[_Book], requests: Counts) -> Counts:
    """Return looks in columns; each part is a look, and what is known of whole clients comes with the last of them."""
    parts = books[0].parts[0].shape[0]
    table = np.stack([np.stack(one.parts) for one in books])  # marks, looks, parts, of, rollouts
    first_c, first_s, n_c, n_s = table.transpose(3, 0, 4, 1, 2).reshape(4, len(books), table.shape[-1], -1)

    def with_the_last(of: np.ndarray, others: float) -> np.ndarray:
        full = np.full((*of.shape, parts), others)
        full[..., -1] = of
        return full.reshape(*of.shape[:-1], -1)

    asked = log_mean(np.stack([np.stack(one.log_e, axis=-1) for one in books]))
    every = (with_the_last(one, 0.0) for one in (requests.bad_c, requests.bad_s, requests.n_c, requests.n_s))
    return Counts(first_c, first_s, n_c[0], n_s[0], Clients(with_the_last(asked, np.nan), *every))


def _by_requests(looks: list[tuple[np.ndarray, ...]]) -> Counts:
    bad = np.stack([one for one, _, _ in looks])  # looks, marks, side, rollouts
    n_c, n_s = (np.stack([look[i] for look in looks], axis=1) for i in (1, 2))
    return Counts(bad[:, :, 0].transpose(1, 2, 0), bad[:, :, 1].transpose(1, 2, 0), n_c, n_s)


def sticky_harmless(crowd: Crowd, rollouts: int, seed: int, pace: float = 1.0) -> tuple[int, int]:
    """Return how many harmless rollouts of sticky clients are rolled back, and how many if requests were counted."""
    back = by_requests = 0
    for part in range(-(-rollouts // PART)):
        rng = np.random.default_rng([seed, part])
        found, plain = crowds(crowd, min(PART, rollouts - PART * part), rng, pace=pace)
        back += int(rolled_back(found)[0].sum())
        by_requests += int(rolled_back(plain)[0].sum())
    return back, by_requests


def sticky_harmful(crowd: Crowd, ratio: float, rollouts: int, seed: int, per_look: float = 1200) -> Caught:
    """Return how a canary that fails ``ratio`` times as often for each client is caught; see :func:`harmful`."""
    backs, ats, served = [], [], []
    for part in range(-(-rollouts // PART)):
        rng = np.random.default_rng([seed, part])
        found, plain = crowds(crowd, min(PART, rollouts - PART * part), rng, per_look, ratio, "error")
        back, at = rolled_back(found)
        at = np.minimum(at // (found["error"].n_c.shape[-1] // LOOKS), LOOKS)
        bad = np.cumsum(plain["error"].bad_c[0], axis=-1)
        backs.append(back), ats.append(at)
        served.append(np.take_along_axis(bad, np.minimum(at, LOOKS - 1)[:, None], -1)[:, 0])
    back, at, bad = map(np.concatenate, (backs, ats, served))
    if not back.any():
        return Caught(0.0, (np.nan, np.nan), (np.nan, np.nan))
    return Caught(float(back.mean()), *(tuple(np.quantile(of[back], [0.5, 0.95])) for of in (at + 1, bad)))


def in_parts(rollouts: int, seed: int, traffic: Traffic) -> tuple[int, dict[str, int]]:
    """Return how many of so many harmless canaries were rolled back, and by which check alone; 1,000 at a time."""
    k, alone = 0, dict.fromkeys(("error", "latency", "wrong"), 0)
    for part in range(-(-rollouts // 1000)):
        found = harmless(traffic, min(1000, rollouts - 1000 * part), np.random.default_rng([seed, part]))
        k += int(rolled_back(found)[0].sum())
        for check, one in found.items():
            alone[check] += int(rolled_back({check: one})[0].sum())
    return k, alone


def main() -> None:
    """Print what the long form finds."""
    rollouts = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print(f"{rollouts:,} harmless rollouts each, {LOOKS} looks, alpha {ALPHA:g} over {CHECKS} checks")
    for name, traffic in (("steady", STEADY), ("bursty", BURSTY), ("sparse", SPARSE), ("frequent errors", FREQUENT)):
        began = time.perf_counter()
        k, alone = in_parts(rollouts, 2026, traffic)
        each = ", ".join(f"{check} {100 * n / rollouts:.2f} %" for check, n in alone.items())
        naive = peeking(traffic, min(rollouts, 2000), np.random.default_rng(7))
        print(
            f"  {name:16} rolled back {100 * k / rollouts:.2f} %, at 95 % confidence "
            f"≤ {100 * upper(k, rollouts):.2f} % ({each}); a z-test at every look, errors alone: {100 * naive:.0f} %   "
            f"[{time.perf_counter() - began:.0f} s]"
        )
    rng = np.random.default_rng(11)
    print("harmful canaries; look after look until caught (median, 95 %), bad answers of the canary by then")
    for words, traffic, ratio in (
        ("errors 2 × at 20 requests/s, 1 %, a look a minute", STEADY, 2.0),
        ("errors 2 × at 20 requests/s, 5 %, a look each 10 s", Traffic(200, error=0.05), 2.0),
        ("errors 2 × at 20 requests/s, 1 %, a look each 10 s", Traffic(200), 2.0),
        ("errors 5 × at 20 requests/s, 1 %, a look each 10 s", Traffic(200), 5.0),
        ("errors 2 × at 2 requests/s, 1 %, a look a minute", Traffic(120), 2.0),
    ):
        told("  " + words, harmful(traffic, ratio, rollouts // 4, rng), "bad answers")
    for factor in (1.1, 1.25, 2.0):
        told(
            f"  latency {factor:g} × beyond what is allowed, a look a minute",
            slow(STEADY, factor, rollouts // 4, rng),
            "requests",
        )
    sticky(max(400, rollouts // 10))


def sticky(rollouts: int) -> None:
    """Print what is found where clients stick to a version."""
    print(f"clients stick to a version, 20 requests/s, a look a minute; {rollouts:,} rollouts each")
    alike = (0.01, 0.01)
    for words, crowd, pace in (
        ("2,000, 5 % fail often", Crowd(2000), 1.0),
        ("2,000 as in Zipf's law, 5 %", Crowd(2000, even=False), 1.0),
        ("200, 5 % fail often", Crowd(200), 1.0),
        ("200 as in Zipf's law, 5 %", Crowd(200, even=False), 1.0),
        ("200, 5 % fail nearly always", Crowd(200, error=(0.0005, 0.9)), 1.0),
        ("200, bursts of 20, 1 %", Crowd(200, error=alike, burst=20), 1.0),
        ("200, 5 %, canary asked 2 × as often", Crowd(200), 2.0),
        ("200, 5 %, canary asked 10 × as often", Crowd(200), 10.0),
        ("200, 5 %, canary asked half as often", Crowd(200), 0.5),
        ("200 alike, canary asked 10 × as often", Crowd(200, error=alike), 10.0),
        ("200 alike, canary asked half as often", Crowd(200, error=alike), 0.5),
    ):
        began = time.perf_counter()
        back, naive = sticky_harmless(crowd, rollouts, 2026, pace)
        print(
            f"  harmless, {words:38} rolled back {100 * back / rollouts:.2f} %, at 95 % confidence "
            f"≤ {100 * upper(back, rollouts):.2f} %; by their requests it would be {100 * naive / rollouts:.0f} %   "
            f"[{time.perf_counter() - began:.0f} s]",
            flush=True,
        )
    for words, crowd, ratio in (
        ("errors 2 × for all of 20,000 clients, 1 %", Crowd(20_000, error=alike), 2.0),
        ("errors 2 × for all of 2,000 clients, 1 %", Crowd(2000, error=alike), 2.0),
        ("errors 2 × for all of 2,000 in Zipf's law, 1 %", Crowd(2000, error=alike, even=False), 2.0),
        ("errors 2 × for all of 200 clients, 1 %", Crowd(200, error=alike), 2.0),
        ("errors 2 × for all of 200 in Zipf's law, 1 %", Crowd(200, error=alike, even=False), 2.0),
        ("errors 5 × for all of 200 clients, 1 %", Crowd(200, error=alike), 5.0),
        ("errors 2 × for all of 50 clients, 1 %", Crowd(50, error=alike), 2.0),
        ("errors 2 × for all of 2,000 clients, 20 %", Crowd(2000, error=(0.2, 0.2)), 2.0),
        ("errors 2 × for 2,000, 5 % of them fail often", Crowd(2000), 2.0),
        ("errors 30 % for 2,000 instead of 1 %", Crowd(2000, error=alike), 30.0),
    ):
        told("  " + words, sticky_harmful(crowd, ratio, max(200, rollouts // 4), 11), "bad answers")


def told(words: str, caught: Caught, served: str) -> None:
    """Print how a harmful canary fared."""
    looks, bad = (f"{a:.0f}, {b:.0f}" for a, b in (caught.looks, caught.bad))
    print(f"{words:58} caught {100 * caught.share:5.1f} %, looks {looks}; {served} {bad}")


if __name__ == "__main__":
    main()
