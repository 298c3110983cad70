"""Colours: one set of tokens, four themes. Nothing else in the TUI names a colour."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

MARKS = ("●", "◆", "▲", "■", "✚", "★", "○", "▼")
"""The shape of each series; colour never stands alone."""


@dataclass(frozen=True)
class Tokens:
    """Every colour that the screens use, by meaning. Values are Textual colour names or ``#rrggbb``."""

    background: str
    surface: str
    raised: str
    line: str
    line_focus: str
    text: str
    dim: str
    faint: str
    accent: str
    ok: str
    warn: str
    fail: str
    busy: str
    unknown: str
    prod: str
    series: tuple[str, ...]

    def colours(self) -> dict[str, str]:
        """Return every token by name; series are ``series-0`` to ``series-7``."""
        plain = {f.name.replace("_", "-"): getattr(self, f.name) for f in fields(self) if f.name != "series"}
        return plain | {f"series-{i}": colour for i, colour in enumerate(self.series)}


# Okabe and Ito's palette (jfly.uni-koeln.de/color, 2008), told apart by colour-blind eyes.
# Its eighth is black, which dark paper turns to white.
_SERIES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2", "#E8E8E8")

DARK = Tokens(
    background="#0E1116",
    surface="#141920",
    raised="#1B222B",
    line="#2A323D",
    line_focus="#6CB6FF",
    text="#D7DDE5",
    dim="#8A94A3",
    faint="#6A7585",
    accent="#6CB6FF",
    ok="#7BD88F",
    warn="#F2C14E",
    fail="#FF7B72",
    busy="#6CB6FF",
    unknown="#8A94A3",
    prod="#FF7B72",
    series=_SERIES,
)

LIGHT = Tokens(
    background="#FBFBF8",
    surface="#F3F3EE",
    raised="#FFFFFF",
    line="#D8D8CF",
    line_focus="#1A66DB",
    text="#1F2328",
    dim="#656D76",
    faint="#7A828B",
    accent="#1A66DB",
    ok="#1A7F37",
    warn="#946200",
    fail="#CF222E",
    busy="#1A66DB",
    unknown="#656D76",
    prod="#CF222E",
    # The same hues, darkened until a thin line is seen on paper (3:1, WCAG 1.4.11).
    series=("#2A86BD", "#AD7700", "#00805D", "#A8567F", "#857C00", "#BF5400", "#0072B2", "#1F2328"),
)

ANSI_DARK = Tokens(
    background="ansi_default",
    surface="ansi_default",
    raised="ansi_default",
    line="ansi_bright_black",
    line_focus="ansi_cyan",
    text="ansi_default",
    dim="ansi_white",
    faint="ansi_bright_black",
    accent="ansi_cyan",
    ok="ansi_green",
    warn="ansi_yellow",
    fail="ansi_red",
    busy="ansi_cyan",
    unknown="ansi_white",
    prod="ansi_red",
    series=(
        "ansi_cyan",
        "ansi_yellow",
        "ansi_green",
        "ansi_magenta",
        "ansi_bright_yellow",
        "ansi_red",
        "ansi_bright_blue",
        "ansi_white",
    ),
)

ANSI_LIGHT = replace(
    ANSI_DARK,
    line_focus="ansi_blue",
    dim="ansi_bright_black",
    accent="ansi_blue",
    warn="ansi_magenta",
    busy="ansi_blue",
    unknown="ansi_bright_black",
    series=(
        "ansi_blue",
        "ansi_yellow",
        "ansi_green",
        "ansi_magenta",
        "ansi_cyan",
        "ansi_red",
        "ansi_bright_blue",
        "ansi_black",
    ),
)

THEMES: Mapping[str, Tokens] = {
    "mlops-dark": DARK,
    "mlops-light": LIGHT,
    "ansi-dark": ANSI_DARK,
    "ansi-light": ANSI_LIGHT,
}


def textual_themes() -> list[Theme]:
    """Return the four themes as Textual knows them; every token is a ``$variable`` for CSS."""
    return [_own("mlops-dark"), _own("mlops-light"), _ansi("ansi-dark"), _ansi("ansi-light")]


def _own(name: str) -> Theme:
    tokens = THEMES[name]
    return Theme(
        name=name,
        primary=tokens.accent,
        secondary=tokens.dim,
        warning=tokens.warn,
        error=tokens.fail,
        success=tokens.ok,
        accent=tokens.accent,
        foreground=tokens.text,
        background=tokens.background,
        surface=tokens.surface,
        panel=tokens.raised,
        dark=name.endswith("dark"),
        variables=tokens.colours() | {"input-selection-background": f"{tokens.accent} 30%"},
    )


def _ansi(name: str) -> Theme:
    theme = BUILTIN_THEMES[name]
    return replace(theme, variables=theme.variables | THEMES[name].colours())


def choose(setting: str, background: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the theme to start with.

    Args:
        setting: the configured theme, or ``auto``.
        background: ``dark`` or ``light`` if the terminal said so, else None.
        environ: the environment; ``NO_COLOR`` needs a theme without RGB, ``COLORFGBG`` hints at the background.
    """
    hint = environ.get("COLORFGBG", "").rpartition(";")[2]
    light = background == "light" or (background is None and hint in ("7", "15"))
    if "NO_COLOR" in environ:
        return "ansi-light" if setting.endswith("light") or (setting == "auto" and light) else "ansi-dark"
    if setting in THEMES:
        return setting
    return "mlops-light" if light else "mlops-dark"


@dataclass(frozen=True)
class Ink:
    """The styles of one theme: what a token looks like on a ground (background, surface, raised or cursor)."""

    theme: str

    def style(self, token: str, ground: str = "surface") -> Style:
        """Return the style of a token, for example ``fail``; a ``*`` before it makes it bold."""
        return _style(self.theme, token, ground)


@cache
def _style(theme: str, token: str, ground: str) -> Style:
    tokens, ansi = THEMES[theme], theme.startswith("ansi")
    colours = tokens.colours()
    bold = token.startswith("*")
    name = token.removeprefix("*") or "text"
    # A palette of 16 has no second background to raise a row with: it turns the row round instead.
    if ansi and ground == "cursor":
        return Style(reverse=True, bold=bold or None)
    shade = colours["raised" if ground == "cursor" else ground]
    return Style(
        color=_rich(colours[name]),
        bgcolor=_rich(shade),
        bold=bold or None,
        dim=(ansi and name == "faint") or None,
    )


def _rich(colour: str) -> str:
    return colour.removeprefix("ansi_")
