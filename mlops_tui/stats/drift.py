"""Has a column drifted? Judged by significance and by effect, aware of how few or many rows there are.

A fixed threshold on PSI is noise below a thousand rows, a p-value alone fires on trifles above ten thousand. So a
column is called drifted only when its difference is no chance (adjusted over all columns that are looked at) *and* is
large enough to matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import bins, distance
from mlops_tui.stats.multiple import benjamini_hochberg, holm
from mlops_tui.stats.profile import CategoricalProfile, NumericProfile, Profile, build, count, expected, numbers

Verdict = Literal["ok", "warn", "drift", "too_few"]
BARS = 10
RARE = 5
"""Rows that a window expects of a category below which it is counted as *other*."""


class Policy(msgspec.Struct, frozen=True):
    """When to speak.

    Args:
        min_rows: rows on each side below which nothing is judged.
        page_alpha: chance that a window in which nothing changed calls any column ``drift`` (Holm).
        list_alpha: expected share of false ones among those called ``warn`` or worse (Benjamini-Hochberg).
        js: effect: Jensen-Shannon distance, base 2, beyond what chance makes of it.
        w1_sigma: effect: Wasserstein distance in standard deviations of the reference.
    """

    min_rows: int = 100
    page_alpha: float = 0.01
    list_alpha: float = 0.05
    js: float = 0.1
    w1_sigma: float = 0.1


class Drift(msgspec.Struct, frozen=True):
    """One column: live traffic against its reference.

    Args:
        verdict: ``drift``: page; ``warn``: list; ``ok``; ``too_few``: rows below the policy's minimum, not judged.
        n_ref: rows of the reference, missing ones included; likewise ``n_live``.
        missing_ref: share of missing rows; likewise ``missing_live``.
        psi: population stability index over ``binning``, nats.
        js: Jensen-Shannon distance over ``binning``, to the base ``js_base``; ``js_excess`` less what chance makes.
        ks_low: the Kolmogorov-Smirnov statistic surely lies in [ks_low, ks_high]; equal when exact. None for
            categories, likewise ``w1`` (units of the column) and ``w1_sigma`` (standard deviations of the reference).
        chi2: Pearson's statistic with ``chi2_df`` degrees of freedom.
        p_values: each test of this column; ``p_value`` is the smallest of them, Bonferroni-adjusted.
        p_page: ``p_value`` adjusted over all columns by Holm, ``p_list`` by Benjamini and Hochberg.
        method: tests behind the p-value, ``binning`` the cells behind psi, js and chi2.
        estimated: ks and w1 come from counts, not from the values.
    """

    column: str
    kind: str
    verdict: Verdict
    text: str
    n_ref: int
    n_live: int
    missing_ref: float
    missing_live: float
    psi: float
    js: float
    js_excess: float
    js_base: float
    ks_low: float | None
    ks_high: float | None
    w1: float | None
    w1_sigma: float | None
    chi2: float
    chi2_df: int
    p_values: dict[str, float]
    p_value: float
    p_page: float
    p_list: float
    method: str
    binning: str
    estimated: bool


class _Line(msgspec.Struct, frozen=True):
    """What only values on a line have: the KS interval and W1."""

    ks_low: float
    ks_high: float
    w1: float


def compare(profile: Profile, live: ArrayLike, column: str = "", policy: Policy | None = None) -> Drift:
    """Return one column's drift from live counts, judged as if it were the only column.

    Args:
        profile: the reference.
        live: counts of live rows in the profile's cells, shape (profile.size,).
        column: its name.
        policy: when to speak.

    Raises:
        BadInput: the counts are not of this profile.
    """
    counts = np.asarray(live, np.int64)
    if counts.shape != (profile.size,):
        raise BadInput(
            f"column {column or '?'} has counts of another profile",
            f"{counts.shape[-1] if counts.ndim else 0} cells, the profile has {profile.size}",
            "count live rows with the profile that they are compared with",
        )
    line = None
    if isinstance(profile, NumericProfile):
        reference = np.array(profile.counts[:-1])
        if reference.any() and counts[:-1].any():
            low, high = distance.ks_binned(reference, counts[:-1], profile.points)
            line = _Line(low, high, distance.w1_binned(reference, counts[:-1], profile.centres))
    return judge([_measure(profile, counts, column, line, estimated=True)], policy)[0]


def compare_exact(reference: Any, live: Any, column: str = "", policy: Policy | None = None, kind: Any = None) -> Drift:
    """Return one column's drift from the raw values of both sides; KS and W1 are exact.

    Args:
        reference: n values, None and NaN are missing.
        live: m values.
        column: its name.
        policy: when to speak.
        kind: ``numeric`` or ``categorical``; default: by the reference.

    Raises:
        BadInput: a numeric column holds something that is no number.
    """
    profile = build(reference, kind)
    counts = count(profile, live)
    line = None
    if isinstance(profile, NumericProfile):
        a, b = numbers(reference), numbers(live)
        a, b = a[np.isfinite(a)], b[np.isfinite(b)]
        if a.size and b.size:
            ks, w1 = distance.ks_w1(a, b)
            line = _Line(ks, ks, w1)
    return judge([_measure(profile, counts, column, line, estimated=False)], policy)[0]


def judge(drifts: Sequence[Drift], policy: Policy | None = None) -> list[Drift]:
    """Return the columns with verdicts that hold over all of them together.

    Columns with too few rows are left out of the family, so they cost the others nothing.
    """
    policy = policy or Policy()
    enough = [min(one.n_ref, one.n_live) >= policy.min_rows for one in drifts]
    p_values = np.array([one.p_value for one, judged in zip(drifts, enough, strict=True) if judged])
    adjusted = iter(zip(holm(p_values).tolist(), benjamini_hochberg(p_values).tolist(), strict=True))
    result = []
    for one, judged in zip(drifts, enough, strict=True):
        p_page, p_list = next(adjusted) if judged else (1.0, 1.0)
        verdict: Verdict = "too_few"
        if judged:
            large = one.js_excess >= policy.js or (one.w1_sigma or 0.0) >= policy.w1_sigma
            page, listed = large and p_page <= policy.page_alpha, large and p_list <= policy.list_alpha
            verdict = "drift" if page else "warn" if listed else "ok"
        text = _sentence(one, verdict, p_page, policy)
        result.append(msgspec.structs.replace(one, verdict=verdict, p_page=p_page, p_list=p_list, text=text))
    return result


def _measure(profile: Profile, live: NDArray[np.int64], column: str, line: _Line | None, estimated: bool) -> Drift:
    """Return every figure of a column; verdict and adjusted p-values are filled in by ``judge``."""
    reference = expected(profile)
    n_ref, n_live = int(reference.sum()), int(live.sum())
    ref, now, binning = _cells(profile, reference, live)
    chi2 = distance.chi_squared(*distance.pool(ref, now))
    p_values = _p_values(profile, reference, live, line)
    if chi2.df:
        p_values["chi2"] = chi2.p_value
    std = profile.std if isinstance(profile, NumericProfile) else None
    return Drift(
        column=column,
        kind="numeric" if isinstance(profile, NumericProfile) else "categorical",
        verdict="too_few",
        text="",
        n_ref=n_ref,
        n_live=n_live,
        missing_ref=int(reference[-1]) / max(n_ref, 1),
        missing_live=int(live[-1]) / max(n_live, 1),
        psi=distance.psi(ref, now),
        js=distance.js_distance(ref, now),
        js_excess=distance.js_excess(ref, now),
        js_base=2.0,
        ks_low=line.ks_low if line else None,
        ks_high=line.ks_high if line else None,
        w1=line.w1 if line else None,
        w1_sigma=line.w1 / std if line and std else None,
        chi2=chi2.statistic,
        chi2_df=chi2.df,
        p_values=p_values,
        p_value=min(1.0, min(p_values.values(), default=1.0) * len(p_values)),
        p_page=1.0,
        p_list=1.0,
        method="+".join(p_values) + " (Bonferroni)" if len(p_values) > 1 else "".join(p_values),
        binning=binning,
        estimated=estimated and line is not None,
    )


def _p_values(
    profile: Profile, reference: NDArray[np.int64], live: NDArray[np.int64], line: _Line | None
) -> dict[str, float]:
    """Return the tests that need no pooled cells: KS, and the rates of missing and never-seen values."""
    p_values = {}
    if line:
        p_values["ks"] = distance.ks_p_value(line.ks_low, int(reference[:-1].sum()), int(live[:-1].sum()))
    special = {"missing": -1} if isinstance(profile, NumericProfile) else {"missing": -1, "unseen": -2}
    for name, cell in special.items():
        if reference[cell] or live[cell]:
            p_values[name] = distance.share_p_value(
                int(reference[cell]), int(reference.sum()), int(live[cell]), int(live.sum())
            )
    return p_values


def _cells(
    profile: Profile, reference: NDArray[np.int64], live: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Return both counts over the few cells that psi, js and chi2 are taken over, and their description."""
    if isinstance(profile, CategoricalProfile):
        common = reference[:-3] * live.sum() >= RARE * max(reference.sum(), 1)
        group = np.append(np.where(common, np.cumsum(common) - 1, common.sum()), common.sum() + np.arange(3))
        binning = f"{common.sum()} categories with {RARE}+ rows expected, other, unseen, missing"
    else:
        group = bins.groups(profile, BARS)
        binning = f"{group[-1]} reference-quantile bins, missing"
    return bins.merge(reference, group), bins.merge(live, group), binning


def _sentence(one: Drift, verdict: Verdict, p_page: float, policy: Policy) -> str:
    """Say in one sentence why the verdict is what it is."""
    if verdict == "too_few":
        rows, side = min((one.n_live, "live"), (one.n_ref, "reference"))
        return f"not judged: {rows:,} {side} rows, {policy.min_rows:,} needed"
    effect = f"JS {one.js:.3f}, {one.js_excess:.3f} beyond chance"
    if one.w1_sigma is not None:
        effect += f", W1 {one.w1_sigma:.2f}σ"
    if one.missing_live != one.missing_ref:
        effect += f", missing {one.missing_ref:.1%} → {one.missing_live:.1%}"
    return f"{verdict}: {effect}, adjusted p {p_page:.2g} on {one.n_live:,} rows"
