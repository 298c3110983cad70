from __future__ import annotations

import pytest

from mlops_tui.tui.drawing.theme import ANSI_DARK, ANSI_LIGHT, DARK, LIGHT, MARKS, THEMES, Ink, choose, textual_themes


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("tokens", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("ground", ["background", "surface", "raised"])
def test_contrast_of_every_token_on_every_ground(tokens, ground):
    shade = getattr(tokens, ground)
    assert contrast(tokens.text, shade) >= 7
    for name in ("dim", "accent", "ok", "warn", "fail", "busy", "unknown", "prod"):
        assert contrast(getattr(tokens, name), shade) >= 4.5, name
    # Hints and stale values recede, but can be read; a drawn line is a graphical object (3:1).
    assert contrast(tokens.faint, shade) >= 3.4
    for colour in tokens.series:
        assert contrast(colour, shade) >= 3, colour


def test_series_have_a_mark_each():
    for tokens in THEMES.values():
        assert len(tokens.series) == len(MARKS) == len(set(tokens.series))


@pytest.mark.parametrize("tokens", [ANSI_DARK, ANSI_LIGHT])
def test_ansi_themes_name_no_rgb(tokens):
    assert all(colour.startswith("ansi_") for colour in tokens.colours().values())
    for token in tokens.colours():
        for ground in ("background", "surface", "raised", "cursor"):
            style = Ink("ansi-dark").style(token, ground)
            for colour in (style.color, style.bgcolor):
                assert colour is None or not colour.is_default or colour.triplet is None


def test_cursor_is_seen_without_any_colour():
    assert Ink("ansi-dark").style("fail", "cursor").reverse


def test_ink_is_bold_where_asked():
    style = Ink("mlops-dark").style("*fail")
    assert style.bold and style.color.get_truecolor().hex == DARK.fail.lower()


def test_every_theme_gives_css_every_token():
    for theme in textual_themes():
        assert set(DARK.colours()) <= set(theme.variables), theme.name


@pytest.mark.parametrize(
    ("setting", "background", "environ", "wanted"),
    [
        ("auto", None, {}, "mlops-dark"),
        ("auto", "light", {}, "mlops-light"),
        ("auto", None, {"COLORFGBG": "0;15"}, "mlops-light"),
        ("auto", "dark", {"COLORFGBG": "0;15"}, "mlops-dark"),
        ("mlops-light", "dark", {}, "mlops-light"),
        ("ansi-light", None, {}, "ansi-light"),
        ("mlops-dark", None, {"NO_COLOR": "1"}, "ansi-dark"),
        ("mlops-light", None, {"NO_COLOR": "1"}, "ansi-light"),
        ("auto", "light", {"NO_COLOR": ""}, "ansi-light"),
    ],
)
def test_choice_of_theme(setting, background, environ, wanted):
    assert choose(setting, background, environ) == wanted
