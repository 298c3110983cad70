import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("stage", Path(__file__).parent.with_name("stage.py"))
_stage = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_stage)


@pytest.fixture
def stage(house):
    """A house with people, ready to serve models; see tests/unit/stage.py."""
    return _stage.Stage(house)
