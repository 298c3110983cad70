"""The screens as text, as they were looked at and found good. ``MLOPS_SNAPSHOTS=update`` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "snapshots"
ENTER = ("enter", "wait")
SCREENS = {
    "home": (),
    "runs": ("2", "wait", "down", "wait"),
    "run": ("2", "wait", *ENTER),
    "compare": ("2", "wait", "space", "space", "space", "c", "wait"),
    "analysis": ("2", "wait", "a", "wait", "tab", "tab", "space", "down", "down", "space", "wait"),
    "data": ("3", "wait"),
    "dataset": ("3", "wait", *ENTER),
    "models": ("4", "wait"),
    "version": ("4", "wait", "tab", *ENTER),
    "deploy": ("5", "wait"),
    "deployment": ("5", "wait", *ENTER),
    "rollout": ("5", "wait", *ENTER, *ENTER),
    "begin": ("5", "wait", "N", "wait"),
    "drift": ("6", "wait"),
    "ab": ("7", "wait"),
    "hardware": ("8", "wait"),
    "govern": ("9", "wait"),
    "plan": ("5", "wait", "P", "wait"),
    "help": ("5", "wait", "question_mark", "wait"),
}
SMALL = (
    "home",
    "runs",
    "run",
    "compare",
    "analysis",
    "data",
    "models",
    "deploy",
    "deployment",
    "rollout",
    "drift",
    "ab",
    "hardware",
    "govern",
)


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, (120, 36)) for name in SCREENS), *((name, (80, 24)) for name in SMALL)],
    ids=lambda value: value if isinstance(value, str) else "x".join(map(str, value)),
)
async def test_the_screen_looks_as_it_was_found_good(name, size, written, open_app, screen_text, settle):
    async with open_app(written, size=size) as (app, pilot):
        for key in SCREENS[name]:
            if key == "wait":
                await settle(pilot, 0.4)
            else:
                await pilot.press(key)
        await settle(pilot, 0.3)
        shown = "\n".join(row.rstrip() for row in screen_text(app)) + "\n"
    path = FOLDER / f"{name}-{size[0]}x{size[1]}.txt"
    if os.environ.get("MLOPS_SNAPSHOTS") == "update":
        path.write_text(shown)
    assert shown == path.read_text(), f"{path.name} differs; look at it, then MLOPS_SNAPSHOTS=update"
