"""Packing a deployment: what the plan refuses, and what the worker writes."""

import json
import sys
import tarfile
from types import SimpleNamespace

import msgspec
import pytest

from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.deploy.package import worker as bundle_worker
from mlops_tui.serving.models import bundle
from mlops_tui.serving.models.sources import find_source
from mlops_tui.serving.process import alone


@pytest.fixture
def packed(stage, make_model, tmp_path):
    """Plan a bundle through the door and do the worker's part with the house's artifacts."""
    data = make_model(tmp_path / "m.onnx", [1, 2]).read_bytes()
    digest = stage.house.blobs.put_bytes(data).digest

    def pack(name, target):
        stage.call("deploy.bundle", name=name, folder=str(target))
        spec = stage.house.read(lambda s: s.value("SELECT spec->'request' FROM job ORDER BY created DESC LIMIT 1"))
        return bundle_worker.make(msgspec.json.decode(spec), SimpleNamespace(blobs=stage.house.blobs))

    stage.model()
    stage.house.store.write(lambda s: s.execute("UPDATE model_version SET digest = ?", [digest]))
    return pack


def test_a_deployment_is_packed_with_its_split_and_what_people_want_to_know(stage, packed, tmp_path):
    stage.serve()
    said = packed("census", tmp_path / "b")
    found = bundle.read(tmp_path / "b", said["signed_by"])
    assert [(one.label, one.weight, one.role) for one in found.revisions] == [("v1", 100.0, "stable")]
    assert found.manifest.about["v1"]["label"] == "census@1" and found.manifest.fallback == found.revisions[0].id
    assert (tmp_path / "b/models/1/model.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "m.onnx"]


def test_a_version_is_packed_as_an_archive_that_names_nobody(stage, packed, tmp_path):
    packed("census@1", tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        assert tar.getnames() == ["bundle.json", "bundle.sig", "models/1/model.onnx"]
        assert {(one.uname, one.uid, one.mode) for one in tar} == {("", 0, 0o644)}


def test_a_place_that_is_taken_is_refused_before_and_after(stage, packed, tmp_path):
    target = tmp_path / "b"
    target.mkdir()
    with pytest.raises(Conflict, match="exists"):
        packed("census@1", target)
    with pytest.raises(BadInput, match="absolute"):
        packed("census@1", "b")
    with pytest.raises(NotFound):
        packed("nothing", tmp_path / "c")


def test_a_place_that_is_taken_meanwhile_stays_as_it_is(stage, packed, tmp_path, monkeypatch):
    target = tmp_path / "b"
    fill = bundle_worker._fill
    monkeypatch.setattr(bundle_worker, "_fill", lambda *given: (target.mkdir(), fill(*given))[1])
    with pytest.raises(Conflict, match="exists"):
        packed("census@1", target)
    assert not list(target.iterdir()) and sorted(path.name for path in tmp_path.iterdir()) == ["b", "m.onnx"]


def test_features_travel_with_a_deployment_that_looks_them_up(stage, packed, tmp_path):
    digest = stage.house.blobs.put_bytes(b"a table").digest
    stage.call("feature.online", view="people", digest=digest, size=7, entities=1, newest=0, data="census@1")
    stage.serve()
    stage.house.store.write(lambda s: s.execute("UPDATE deployment SET facts = ?", ['{"features": "people"}']))
    packed("census", tmp_path / "b")
    found = bundle.read(tmp_path / "b")
    assert found.features.engine == "features" and found.manifest.missing == "refuse"
    assert found.features.file == str(tmp_path / "b/features/online")
    assert (tmp_path / "b/features/online").read_bytes() == b"a table"


def test_how_a_deployment_is_run_travels_with_it_and_flags_say_otherwise(stage, packed, tmp_path):
    asked = {"python": sys.executable, "timeout_s": 3.0, "provider_policy": "require", "engines": 2, "redact": ["age"]}
    stage.serve()
    stage.house.store.write(
        lambda s: s.execute("UPDATE deployment SET workers = 4, facts = ?", [json.dumps({**asked, "grpc_port": 1})])
    )
    packed("census", tmp_path / "b")

    def served(*flags):
        wishes = alone._parser().parse_args([*flags, str(tmp_path / "b")])
        return alone._deployment(find_source(tmp_path / "b", tmp_path), wishes)

    facts = served()
    assert {name: getattr(facts, name) for name in asked} == {**asked, "redact": ("age",)}
    assert (facts.workers, facts.grpc_port, facts.log_sample) == (4, 0, 1.0)
    assert served("--engines=1", "--timeout-s=9", "--redact=").timeout_s == 9.0
    assert served("--engines=1", "--redact=").redact == () and served("--engines=3").engines == 3
    with pytest.raises(BadInput, match="no such Python here"):
        served("--python=/no/python")
