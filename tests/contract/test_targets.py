"""Our own target does what every target must."""

import pytest

from mlops_tui.deploy.target_contract import TargetContract
from mlops_tui.deploy.targets import LocalTarget


class TestLocal(TargetContract):
    @pytest.fixture(autouse=True)
    def _at_home(self, home):
        pass

    def make(self):
        return LocalTarget()
