"""Which engines of a model a worker asks, when workers and engines are not as many.

Of W workers and N engines, worker w prefers those whose number is w modulo W or, with fewer engines than workers, the
one that is w modulo N.
"""

from __future__ import annotations


def in_order(worker: int, workers: int, engines: int) -> list[int]:
    """Return the numbers of the engines in the order in which a worker prefers them."""
    own = range(worker % engines, engines, workers) if engines > workers else [worker % engines]
    return [*own, *(n for n in range(engines) if n not in own)]


def lanes(workers: int, engines: int) -> int:
    """Return how many engines a worker asks at a time."""
    return -(-engines // workers)
