"""Which metric stands for a run where there is room for one."""

from __future__ import annotations

import re
from collections.abc import Iterable

_GROUPS: tuple[frozenset[str], ...] = (
    frozenset({"auc", "auroc", "rocauc"}),
    frozenset({"accuracy", "acc"}),
    frozenset({"f1", "r2"}),
    frozenset({"score"}),
    frozenset({"loss", "nll"}),
    frozenset({"rmse", "mae", "mse", "error", "perplexity"}),
)
_LOWER = frozenset({"loss", "nll", "rmse", "mae", "mse", "error", "err", "perplexity", "ece", "wer"})
_TRAINED = frozenset({"train", "training"})
_ASIDE = frozenset({"time", "seconds", "std", "rank", "epoch", "lr"})
"""Words of what is measured beside: how long it took, how far it scatters."""
_WORD = re.compile(r"[a-z0-9]+")

LOWER_IS_BETTER_SQL = f"regexp_matches(lower(metric), '(^|[^a-z0-9])({'|'.join(sorted(_LOWER))})([^a-z0-9]|$)')"
"""SQL over a column ``metric``: whether less of it is better."""


def headline(keys: Iterable[str]) -> str | None:
    """Return the metric to show: area under the curve before accuracy, a score, loss, and anything else.

    Within a group one that was not measured on the training data comes first, then the alphabetically first. None when
    there is nothing but figures of the machine (``system/…``).
    """
    return min((key for key in keys if not key.startswith("system/")), key=rank, default=None)


def rank(key: str) -> tuple[int, bool, str]:
    """Return the place of a metric in the order of :func:`headline`."""
    words = set(_WORD.findall(key.lower()))
    group = next((place for place, names in enumerate(_GROUPS) if words & names), len(_GROUPS))
    return group + (len(_GROUPS) + 1) * bool(words & _ASIDE), bool(words & _TRAINED), key


def lower_is_better(key: str) -> bool:
    """Tell whether less of a metric is better, from the words of its name."""
    return bool(set(_WORD.findall(key.lower())) & _LOWER)
