"""Our own target does what every target must."""

import pytest

from mlops_tui.deploy.targets.contract import TargetContract
from mlops_tui.deploy.targets.targets import LocalTarget


class TestLocal(TargetContract):
    @pytest.fixture(autouse=True)
    def _at_home(self, home):
        pass

    def make(self):
        return LocalTarget()
