import pytest

from mlops_tui.blobs import Blobs
from mlops_tui.core import config, paths
from mlops_tui.keys import open_keys


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that opens a store's home (``on`` or ``off``) below the test's folder."""
    for name in ("CI", "CREDENTIALS_DIRECTORY", "DBUS_SESSION_BUS_ADDRESS", "MLOPS_STORE_KEY"):
        monkeypatch.delenv(name, raising=False)

    def open_home(name="home", encryption="on"):
        monkeypatch.setenv("MLOPS_HOME", str(tmp_path / name))
        home = paths.home()
        return Blobs(home.blobs, open_keys(home, config.load({"store.encryption": encryption}, home)))

    return open_home


@pytest.fixture
def sealed(make):
    return make("sealed", "on")


@pytest.fixture(params=["on", "off"])
def blobs(make, request):
    return make(f"home-{request.param}", request.param)
