"""A site folder of the test's own, into which plugins are installed as pip would."""

from __future__ import annotations

import base64
import hashlib
import itertools

import pytest

from mlops_tui.core.paths import home as the_home
from mlops_tui.plugins import loader

COUNT = itertools.count()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home that was used before, and a loader that has loaded nothing."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(loader, "_manager", None)
    monkeypatch.setattr(loader, "_problems", {})
    (tmp_path / "home").mkdir(mode=0o700)
    return the_home()


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def install(site):
    """Install a distribution: ``install("x-y", worker="source of its module")``; return its modules' names."""

    def put(name, version="1.0", **sides):
        stem, files, entries = f"m{next(COUNT)}", {}, []
        for side, source in sides.items():
            files[f"{stem}_{side}.py"] = source
            entries.append(f"{side} = {stem}_{side}")
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: A plugin.\n"
        files[f"{info}/entry_points.txt"] = "[mlops_tui.plugins]\n" + "\n".join(entries) + "\n"
        record = []
        for path, text in files.items():
            (site / path).parent.mkdir(exist_ok=True)
            (site / path).write_text(text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(text)}")
        (site / info / "RECORD").write_text("\n".join([*record, f"{info}/RECORD,,"]) + "\n")
        return [f"{stem}_{side}" for side in sides]

    return put
