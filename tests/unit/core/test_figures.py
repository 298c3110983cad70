"""Figures and states mean the same on a screen and on the command line."""

from __future__ import annotations

import math

import pytest

from mlops_tui.core import figures
from mlops_tui.core.clock import DAY, HOUR, MINUTE, SECOND
from mlops_tui.core.printable import clean
from mlops_tui.core.states import SYMBOLS, spoken, tone


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
        (-0.0, "0"),
        (1e-6, "1.0e-06"),
        (2.5e12, "2.50e+12"),
        (-0.5, "-0.500"),
        (math.nan, "NaN"),
        (-math.inf, "-inf"),
        (None, "–"),
    ],
)
def test_numbers_keep_their_digits(value, wanted):
    assert figures.number(value) == wanted


def test_differences_are_signed():
    assert [figures.signed(v) for v in (0.01, -0.01, 0.0, None)] == ["+0.0100", "-0.0100", "=", ""]


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
    assert figures.duration(us) == wanted


def test_ages_are_relative_under_a_day():
    now = 1_790_000_000 * SECOND
    assert figures.when(now - 4 * MINUTE, now) == "4m ago"
    assert figures.when(now - 3 * DAY, now) == "Sep 18"
    assert figures.when(None) == "–"


def test_sparks_span_their_own_range_and_keep_gaps():
    assert figures.spark([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert figures.spark([5, 5]) == "▁▁"
    assert figures.spark([1, None, math.nan, 2]) == "▁  █"
    assert figures.spark([]) == ""


def test_sizes():
    assert [figures.size(v) for v in (12, 1500, 18_234_000, 2.5e11)] == ["12 B", "1.5 kB", "18.2 MB", "250 GB"]


def test_more_digits_are_there_for_the_asking():
    assert [figures.number(v, 4) for v in (0.912345, 3.14159, 1234567.0, 12)] == ["0.9123", "3.142", "1,234,567", "12"]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("RolledBack", "fail"),
        ("rolled_back", "fail"),
        ("no_difference", "dim"),
        ("Running", "busy"),
        ("odd", "unknown"),
    ],
)
def test_a_state_has_one_tone_however_it_is_spelt(word, wanted):
    assert tone(word) == wanted and wanted in SYMBOLS


def test_states_are_spoken_as_people_say_them():
    assert [spoken(word) for word in ("RolledBack", "too_few", "done")] == ["rolled back", "too few", "done"]


def test_clean_takes_out_what_could_move_the_cursor_or_turn_the_text():
    assert clean("a\x1b[2Jb\x07c\u202ed\u2066e\nf\tg\x9bh") == "a[2Jbcde f gh"
    assert clean("مرحبا ü 漢") == "مرحبا ü 漢"
