from __future__ import annotations

from mlops_tui.tui.drawing import format as fmt


def test_memory_is_told_as_it_is_sold():
    assert fmt.memory(61 << 30, 80 << 30) == "61/80G"


def test_p_values():
    assert [fmt.p_value(v) for v in (1e-12, 0.00042, 0.0312, None)] == ["<1e-9", "0.00042", "0.031", "–"]


def test_bars_are_as_long_as_their_share():
    assert fmt.gauge(0.93) == "▇" * 9 + "▁"
    assert fmt.gauge(None, 4) == "····"
    assert fmt.bar(0.5, 4) == "██"
    assert fmt.bar(0.3, 4) == "█▏"
    assert fmt.bar(0.5, 4, "░") == "░░"


def test_an_interval_stands_where_it_belongs():
    row = fmt.interval(0.0, 0.5, 1.0, -1.0, 1.0, 9)
    assert row == "    ├─●─┤"
