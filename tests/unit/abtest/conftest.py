import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("stage", Path(__file__).parent.with_name("stage.py"))
_module = importlib.util.module_from_spec(_spec)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    _spec.loader.exec_module(_module)
    with _module.opened(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def stage(opened):
    """A house with people, ready to serve models; see tests/unit/stage.py."""
    return _module.Stage(opened)
