import pytest

from mlops_tui.core import config, paths

OUR_VARIABLES = ("CI", "CREDENTIALS_DIRECTORY", "DBUS_SESSION_BUS_ADDRESS", "MLOPS_STORE_KEY", "MLOPS_ALLOW_ENV_KEY")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home on a machine with no key source set up."""
    for name in OUR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    return paths.home()


@pytest.fixture
def settings(home):
    """Settings in force, with given values by key."""
    return lambda **flags: config.load({key.replace("__", "."): value for key, value in flags.items()}, home)
