"""Finding, trusting and loading plugins."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import stat
import subprocess
import sys

import pytest

from mlops_tui.core.errors import BadInput, Conflict, NotAllowed, NotFound
from mlops_tui.plugins import found, hookspecs, loader
from mlops_tui.plugins.found import find_plugin, find_plugins
from mlops_tui.plugins.skeleton import write_skeleton
from mlops_tui.plugins.trust import require_trust, set_trust, state_of, trust_file, trusted

GATE = """
from mlops_tui.plugins import hook
class Gate:
    name = "{name}"
    def judge(self, candidate): ...
@hook
def mlops_gates():
    return [Gate()]
"""
BURSTS = "raise RuntimeError('bursts')"


def trust(home, name):
    set_trust(home, find_plugin(home, name))


# -- hook specifications


def test_every_hook_names_its_side_and_says_what_it_brings():
    specs = {name: value for name, value in vars(hookspecs).items() if name.startswith("mlops_")}
    assert set(specs) == set(hookspecs.SIDE_OF)
    assert set(hookspecs.SIDE_OF.values()) <= set(hookspecs.SIDES)
    assert all(inspect.getdoc(spec) for spec in specs.values())
    brings = "trainers gates drift_statistics deploy_targets device_probes notifiers key_sources registries panels"
    assert {name.removeprefix("mlops_") for name in specs} == set(brings.split())


# -- finding


def test_plugins_are_listed_without_being_imported(home, install):
    install("mlops-one", worker=BURSTS, screen=BURSTS)
    install("Mlops_Two", agent=BURSTS)
    plugins = {one.name: one for one in find_plugins(home)}
    assert {"mlops-one", "mlops-two"} <= set(plugins)
    assert set(plugins["mlops-one"].modules) == {"worker", "screen"} and plugins["mlops-one"].summary == "A plugin."


def test_the_list_is_kept_until_a_folder_of_packages_changes(home, install, site, monkeypatch):
    install("mlops-one", worker="")
    find_plugins(home)
    monkeypatch.setattr(found, "_look", lambda: pytest.fail("looked again"))
    assert "mlops-one" in {one.name for one in find_plugins(home)}
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(site))
    install("mlops-three", worker="")
    assert "mlops-three" in {one.name for one in find_plugins(home)}


def test_a_damaged_cache_is_looked_past_and_a_new_home_is_not_made(home, install):
    install("mlops-one", worker="")
    find_plugins(home)
    (home.cache / "plugins.json").write_text("[1]")
    assert find_plugins(home)
    shutil.rmtree(home.data)
    assert find_plugins(home) and not home.data.exists()


def test_a_plugin_that_is_not_there(home):
    with pytest.raises(NotFound, match="'nope'") as error:
        find_plugin(home, "nope")
    assert error.value.fix == "pip install nope"


# -- trust


def test_trust_is_for_one_version_with_its_exact_files(home, install, site):
    (module,) = install("mlops-one", worker="x = 1\n")
    plugin = find_plugin(home, "mlops-one")
    assert state_of(home, plugin) == "untrusted"
    with pytest.raises(NotAllowed, match="not loaded"):
        require_trust(home, plugin)
    trust(home, "mlops-one")
    require_trust(home, plugin)
    assert state_of(home, plugin) == "trusted" and stat.S_IMODE(trust_file(home).stat().st_mode) == 0o600
    (site / f"{module}.py").write_text("x = 2\n")
    with pytest.raises(NotAllowed, match="not what was installed"):
        require_trust(home, plugin)
    shutil.rmtree(site / "mlops_one-1.0.dist-info")
    install("mlops-one", version="1.1", worker="x = 1\n")
    newer = find_plugin(home, "mlops-one")
    assert newer.version == "1.1" and state_of(home, newer) == "changed"


def test_files_that_were_edited_before_are_not_trusted(home, install, site):
    (module,) = install("mlops-one", worker="x = 1\n")
    (site / f"{module}.py").write_text("x = 2\n")
    with pytest.raises(NotAllowed, match="was changed"):
        trust(home, "mlops-one")
    assert trusted(home) == {}


def test_trust_is_taken_back(home, install):
    install("mlops-one", worker="")
    install("mlops-two", worker="")
    trust(home, "mlops-one")
    trust(home, "mlops-two")
    set_trust(home, find_plugin(home, "mlops-one"), revoke=True)
    assert set(trusted(home)) == {"mlops-two"}


@pytest.mark.parametrize("damage", ["mode", "text", "shape"])
def test_a_trust_file_that_others_could_write_or_that_is_damaged_trusts_nobody(home, install, damage, caplog):
    install("mlops-one", worker=GATE.format(name="a"))
    trust(home, "mlops-one")
    if damage == "mode":
        trust_file(home).chmod(0o620)
    else:
        trust_file(home).write_text("{" if damage == "text" else json.dumps({"plugins": {"mlops-one": 1}}))
    with pytest.raises(NotAllowed):
        trusted(home)
    with caplog.at_level(logging.WARNING):
        assert loader.brought("gates") == {} and loader.key_sources() == ()
    assert str(trust_file(home)) in caplog.text


# -- loading


class Builtin:
    """Hooks of our own."""

    @hookspecs.hook
    def mlops_gates(self):
        return [type("Quality", (), {"name": "quality"})()]


def test_built_ins_and_trusted_plugins_are_asked_by_the_same_hook(home, install):
    install("mlops-one", worker=GATE.format(name="mine"))
    install("mlops-two", worker=BURSTS)
    trust(home, "mlops-one")
    builtin = Builtin()
    loader.register_builtin(builtin)
    loader.register_builtin(builtin)
    assert list(loader.brought("gates")) == ["quality", "mine"]
    assert loader.problems() == {}  # the untrusted one was never touched
    assert ("builtin:Builtin", "worker", "gates") in loader.builtins()
    assert len(loader.hooks("worker").mlops_gates()) == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (BURSTS, "RuntimeError: bursts"),
        ("import nothing_like_it", "nothing_like_it"),
        ("raise SystemExit(3)", "SystemExit"),
        ("x = 1", "has no hook"),
        ("from mlops_tui.plugins import hook\n@hook\ndef mlops_panels(): return []", "asked on the screen side"),
        ("from mlops_tui.plugins import hook\n@hook\ndef mlops_gates(x): return []", "mlops_gates"),
    ],
)
def test_a_broken_plugin_warns_and_the_others_are_loaded(home, install, source, said, caplog):
    install("mlops-bad", worker=source)
    install("mlops-good", worker=GATE.format(name="good"))
    trust(home, "mlops-bad")
    trust(home, "mlops-good")
    with caplog.at_level(logging.WARNING):
        assert list(loader.brought("gates")) == ["good"]
        assert list(loader.brought("gates")) == ["good"]
    assert said in loader.problems()["mlops-bad"]
    assert sum("plugin mlops-bad" in record.message for record in caplog.records) == 1


def test_a_hook_that_fails_or_takes_a_name_is_skipped(home, install):
    install("mlops-fails", worker="from mlops_tui.plugins import hook\n@hook\ndef mlops_gates(): return 1 / 0")
    install("mlops-takes", worker=GATE.format(name="quality"))
    trust(home, "mlops-fails")
    trust(home, "mlops-takes")
    loader.register_builtin(builtin := Builtin())
    assert set(loader.brought("gates")) == {"quality"}
    assert type(loader.brought("gates")["quality"]).__name__ == type(builtin.mlops_gates()[0]).__name__
    assert "ZeroDivisionError" in loader.problems()["mlops-fails"]
    assert "'quality' is taken" in loader.problems()["mlops-takes"]


def test_each_side_imports_its_own_module_alone(home, install):
    worker, screen = install("mlops-one", worker=GATE.format(name="a"), screen=BURSTS)
    trust(home, "mlops-one")
    assert loader.brought("gates") and worker in sys.modules and screen not in sys.modules


def test_a_changed_plugin_is_not_loaded_and_says_so(home, install, site):
    (module,) = install("mlops-one", worker=GATE.format(name="a"))
    trust(home, "mlops-one")
    (site / f"{module}.py").write_text("print('evil')")
    assert loader.brought("gates") == {}
    assert "not what was installed" in loader.problems()["mlops-one"]


def test_a_plugin_that_is_trusted_later_is_loaded_then_and_one_that_is_not_is_forgotten(home, install):
    install("mlops-one", worker=GATE.format(name="a"))
    assert loader.brought("gates") == {}
    trust(home, "mlops-one")
    loader.load("worker")
    assert set(loader.brought("gates")) == {"a"}
    set_trust(home, find_plugin(home, "mlops-one"), revoke=True)
    loader.forget("mlops-one")
    assert loader.brought("gates") == {}


def test_key_sources_cost_nothing_without_plugins(home):
    probe = "import sys; from mlops_tui.plugins.loader import key_sources as k; print(k(), 'pluggy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "() False\n"


def test_a_key_source_opens_a_store(home, install, monkeypatch):
    from mlops_tui.core.config import load
    from mlops_tui.keys import open_keys

    source = """
from mlops_tui.plugins import hook
class Kms:
    name = "kms"
    def __call__(self, store_id, note):
        return ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", note or "wrapped:" + store_id)
@hook
def mlops_key_sources():
    return [Kms()]
"""
    install("mlops-kms", agent=source)
    trust(home, "mlops-kms")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    keys = open_keys(home, load(where=home), loader.key_sources())
    assert keys.meta.key_source == "plugin:kms" and keys.meta.key_note.startswith("wrapped:")
    with pytest.raises(NotAllowed, match="plugin:kms"):
        open_keys(home, load(where=home), ())
    assert open_keys(home, load(where=home), loader.key_sources()).meta == keys.meta


# -- a new one


def test_a_new_plugin_passes_its_own_test(tmp_path):
    files = write_skeleton(tmp_path / "mlops-mine", "mlops-mine")
    assert {path.name for path in files} >= {"pyproject.toml", "gate.py", "test_gate.py"}
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        pytest_, cwd=tmp_path / "mlops-mine", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["Mine", "9x", "a b", "../x", "x-", ""])
def test_a_new_plugin_has_a_name_that_a_package_can_have(name, tmp_path):
    with pytest.raises(BadInput):
        write_skeleton(tmp_path / "x", name)


def test_a_new_plugin_never_overwrites(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/mine.txt").touch()
    with pytest.raises(Conflict):
        write_skeleton(tmp_path / "x", "mlops-mine")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["mine.txt"]


def test_what_nobody_asks_for_yet_is_said(home, install):
    source = "from mlops_tui.plugins import hook\n\n@hook\ndef mlops_registries():\n    return []\n"
    install("x-shared", agent=source)
    install("x-other", agent=source.replace("registries", "trainers"))
    for name in ("x-shared", "x-other"):
        set_trust(home, find_plugin(home, name))
    loader.load("agent")
    assert loader.unasked() == {"x-shared": "registries"}
