from __future__ import annotations

import math

import pytest

from mlops_tui.core.clock import DAY, HOUR, MINUTE, SECOND
from mlops_tui.tui import format as fmt


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0.941, "0.941"),
        (0.0412, "0.0412"),
        (0.00123, "0.00123"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1234.5, "1,234"),
        (41203, "41,203"),
        (0.0, "0"),
        (1e-6, "1.0e-06"),
        (2.5e12, "2.50e+12"),
        (-0.5, "-0.500"),
        (math.nan, "NaN"),
        (-math.inf, "-∞"),
        (None, "–"),
    ],
)
def test_numbers_keep_their_digits(value, wanted):
    assert fmt.number(value) == wanted


def test_differences_are_signed():
    assert [fmt.signed(v) for v in (0.01, -0.01, 0.0, None)] == ["+0.0100", "-0.0100", "=", ""]


@pytest.mark.parametrize(
    ("us", "wanted"),
    [
        (400_000, "0.4s"),
        (41 * SECOND, "41s"),
        (161 * SECOND, "2m41s"),
        (HOUR + 12 * MINUTE, "1h12m"),
        (3 * DAY + 4 * HOUR, "3d4h"),
        (None, "–"),
    ],
)
def test_durations(us, wanted):
    assert fmt.duration(us) == wanted


def test_ages_are_relative_under_a_day():
    now = 1_790_000_000 * SECOND
    assert fmt.when(now - 4 * MINUTE, now) == "4m ago"
    assert fmt.when(now - 3 * DAY, now) == "Sep 18"
    assert fmt.when(None) == "–"


def test_sizes():
    assert [fmt.size(v) for v in (12, 1500, 18_234_000, 2.5e11)] == ["12 B", "1.5 kB", "18.2 MB", "250 GB"]
    assert fmt.memory(61 << 30, 80 << 30) == "61/80G"


def test_p_values():
    assert [fmt.p_value(v) for v in (1e-12, 0.00042, 0.0312, None)] == ["<1e-9", "0.00042", "0.031", "–"]


def test_bars_are_as_long_as_their_share():
    assert fmt.gauge(0.93) == "▇" * 9 + "▁"
    assert fmt.gauge(None, 4) == "····"
    assert fmt.bar(0.5, 4) == "██"
    assert fmt.bar(0.3, 4) == "█▏"
    assert fmt.bar(0.5, 4, "░") == "░░"


def test_sparks_span_their_own_range_and_keep_gaps():
    assert fmt.spark([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert fmt.spark([5, 5]) == "▁▁"
    assert fmt.spark([1, None, math.nan, 2]) == "▁  █"
    assert fmt.spark([]) == ""


def test_an_interval_stands_where_it_belongs():
    row = fmt.interval(0.0, 0.5, 1.0, -1.0, 1.0, 9)
    assert row == "    ├─●─┤"
