import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("stage", Path(__file__).parent.with_name("stage.py"))
_module = importlib.util.module_from_spec(_spec)


@pytest.fixture
def stage(house):
    """A house with people, ready to serve models; see tests/unit/stage.py."""
    _spec.loader.exec_module(_module)
    return _module.Stage(house)
