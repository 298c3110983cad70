"""Plain ASCII: each glyph that the program draws has a likeness, of the same width."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from rich.cells import cell_len

import mlops_tui
from mlops_tui.core.glyphs import HANDLER, plain

ROOT = Path(mlops_tui.__file__).parent


def strings(path):
    tree = ast.parse(path.read_text())
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


@pytest.mark.parametrize("folder", ["tui", "cli", "core", "demo"])
def test_whatever_we_draw_has_a_likeness(folder):
    drawn = {glyph for path in (ROOT / folder).rglob("*.py") for text in strings(path) for glyph in text}
    lacking = {glyph for glyph in drawn if not glyph.isascii() and plain(glyph) in ("?", "")}
    assert not lacking, f"core/glyphs.py says nothing of {lacking}"


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("✔ done · ▁▄█ │ 0.5┤⣀⠤⠉ é ±2", "v done . .-# | 0.5+.-' e ~2"),
        ("名前 🚀", "???? ??"),
        ("a\u0301 ⡇⠒⣿⠀", "a |-| "),
        ("plain", "plain"),
    ],
)
def test_a_likeness_takes_as_many_cells(text, simple):
    assert plain(text) == simple and cell_len(simple) == cell_len(text)


def test_a_stream_that_lacks_a_letter_gets_its_likeness():
    assert "✔ größe …".encode("ascii", HANDLER) == b"v gro?e ~"
