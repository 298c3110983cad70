"""A stage for the tests of what is served; see ``stage.py``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def _stage():
    spec = importlib.util.spec_from_file_location("stage", Path(__file__).with_name("stage.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stage(house, _stage):
    """A house with people, ready to serve models."""
    return _stage.Stage(house)
