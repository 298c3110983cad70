"""A data set's life with a real agent and real workers: taken in, checked, refused, made into features, verified."""

from __future__ import annotations

import os

import pytest

from mlops_tui.core.errors import Conflict, MlopsError, NotAllowed, Refused
from mlops_tui.data import training_set

CHECKS = """
rows: {min: 10}
unique: [id]
columns:
  id: {type: BIGINT, not_null: true}
  AGEP: {type: DOUBLE, not_null: true, min: 16, max: 99}
  SEX: {type: BIGINT, allowed: [1, 2]}
  employed: {type: BIGINT, allowed: [0, 1]}
"""
FEATURES = """
entity: person
key: id
label: employed
groups: [SEX]
forbidden: [SEX]
inputs: {AGEP: DOUBLE}
features:
  - {name: age, version: 1, dtype: float, expr: "AGEP"}
"""
NEWER = '  - {name: age, version: 2, dtype: float, expr: "AGEP - 16"}\n'


@pytest.fixture
def people(tmp_path):
    """Write people to a CSV file; ``older`` adds years to each, ``broken`` spoils the seventh."""

    def write(name, older=0, broken=False):
        lines = [f"{i},{20 + i % 50 + older}.5,{1 + i % 2},{i % 3 % 2}" for i in range(120)]
        if broken:
            lines[6] = "6,160.5,1,0"
        (tmp_path / name).write_text("\n".join(["id,AGEP,SEX,employed", *lines]) + "\n")
        return str(tmp_path / name)

    (tmp_path / "checks.yaml").write_text(CHECKS)
    (tmp_path / "features.yaml").write_text(FEATURES)
    return write


@pytest.fixture
def client(agent):
    with agent.client() as one:
        yield one


def test_from_a_file_to_a_training_set(client, people, tmp_path, home):
    checks, features = str(tmp_path / "checks.yaml"), str(tmp_path / "features.yaml")
    facts = {"classification": "personal", "residency": "AE"}
    seen = []
    added = client.follow(
        client.call("data.add", {"name": "people", "path": people("a.csv"), "checks": checks, **facts}), seen.append
    )
    assert (added["data"], added["rows"]) == ("people@1", 120)
    assert seen[-1].status == "done"
    shown = client.call("data.show", {"data": "people"})
    assert [(one["name"], one["type"]) for one in shown.schema] == [
        ("id", "BIGINT"),
        ("AGEP", "DOUBLE"),
        ("SEX", "BIGINT"),
        ("employed", "BIGINT"),
    ]
    assert shown.checks["passed"] and shown.profile["columns"] and shown.origin.endswith("a.csv")

    # The same content again is the version that it was.
    again = client.run_job("data.add", {"name": "people", "path": people("copy.csv"), "checks": checks, **facts})
    assert again["id"] == added["id"]

    # A broken file is refused with the row and the column, and leaves nothing.
    with pytest.raises(Refused) as caught:
        client.run_job("data.add", {"name": "people", "path": people("b.csv", broken=True), "checks": checks})
    assert "AGEP" in str(caught.value) and "row 7" in str(caught.value)
    assert client.call("data.list").total == 1

    # A version can be checked later, by other rules.
    assert client.run_job("data.check", {"data": "people@1", "checks": checks})["passed"]
    (tmp_path / "strict.yaml").write_text(CHECKS.replace("max: 99", "max: 60"))
    with pytest.raises(Refused, match="people@1"):
        client.run_job("data.check", {"data": "people", "checks": str(tmp_path / "strict.yaml")})

    # Definitions never change under their version.
    assert client.call("feature.apply", {"path": features, "name": "people"}).text.endswith("1 new of 1 features")
    (tmp_path / "features.yaml").write_text(FEATURES.replace('"AGEP"', '"AGEP * 2"'))
    with pytest.raises(Conflict, match="age@1 is registered with another definition"):
        client.call("feature.apply", {"path": features, "name": "people"})
    (tmp_path / "features.yaml").write_text(FEATURES + NEWER)
    client.call("feature.apply", {"path": features, "name": "people"})

    # The training set takes the newest versions, or those that are wanted, and keeps its sources' labels.
    made = client.run_job("feature.training-set", {"data": ["people"], "name": "train"})
    assert (made["data"], made["rows"], made["unlabelled"]) == ("train@1", 120, 0)
    table = client.call("data.show", {"data": "train"})
    assert (table.parent, table.classification, table.residency) == ("people@1", "personal", "AE")
    assert client.call("data.show", {"data": "people@1"}).consumers == [f"dataset_version:{table.id}"]
    same = client.run_job("feature.training-set", {"data": ["people@1"], "name": "train"})
    assert same["id"] == made["id"]
    older = client.run_job("feature.training-set", {"data": ["people"], "name": "train", "features": ["age@1"]})
    assert older["data"] == "train@2"
    assert first_age(client, home, tmp_path, "train@1") == 4.5
    assert first_age(client, home, tmp_path, "train@2") == 20.5


def first_age(client, home, tmp_path, reference):
    from mlops_tui.blobs import Blobs
    from mlops_tui.core.config import load
    from mlops_tui.keys import open_keys

    version = client.call("data.show", {"data": reference})
    blobs = Blobs(home.blobs, open_keys(home, load(where=home), must_exist=True))
    path = tmp_path / f"{version.digest}.parquet"
    path.write_bytes(blobs.read_bytes(version.digest))
    return training_set.read(path).x[0, 0]


def test_versions_are_compared_tagged_and_read_back(client, people, home):
    for name, older in (("a.csv", 0), ("b.csv", 25)):
        client.run_job("data.add", {"name": "people", "path": people(name, older)})
    compared = client.call("data.diff", {"base": "people@1", "other": "people@2"})
    assert (compared.base, compared.other, compared.rows) == ("people@1", "people@2", 0)
    assert "AGEP" in str(compared.columns)
    client.call("data.tag", {"data": "people@1", "tags": {"stage": "gold"}})
    assert client.call("data.show", {"data": "people@1"}).tags == {"stage": "gold"}
    assert client.call("data.show", {"data": "people@2"}).tags == {}

    version = client.call("data.show", {"data": "people@1"})
    assert client.run_job("data.verify", {"data": "people@1"}) == {
        "data": "people@1",
        "digest": version.digest,
        "ok": True,
    }
    [sealed] = [path for path in home.blobs.rglob("*") if path.is_file() and version.digest[4:] in path.name]
    content = bytearray(sealed.read_bytes())
    content[len(content) // 2] ^= 1
    os.chmod(sealed, 0o600)
    sealed.write_bytes(content)
    with pytest.raises(MlopsError):
        client.run_job("data.verify", {"data": "people@1"})
    assert client.run_job("data.verify", {"data": "people@2"})["ok"]


def test_a_worker_acts_for_the_tenant_of_its_job(agent, people, monkeypatch):
    monkeypatch.setenv("MLOPS_TENANT", "acme")
    with agent.client() as acme:
        assert acme.run_job("data.add", {"name": "people", "path": people("a.csv")})["data"] == "people@1"
        assert acme.call("data.list").total == 1
    monkeypatch.setenv("MLOPS_TENANT", "default")
    with agent.client() as other:
        assert other.call("data.list").total == 0


def test_a_viewer_takes_nothing_in(client, people):
    me = client.call("home.show").user
    client.call("identity.create", {"name": me, "role": "admin"})
    client.call("identity.create", {"name": "somebody", "role": "admin"})
    client.call("identity.create", {"name": me, "role": "viewer"})
    with pytest.raises(NotAllowed, match=f"{me} may not data write"):
        client.call("data.add", {"name": "people", "path": people("a.csv")})
    assert client.call("data.list").total == 0
    refused = client.call("audit.list", {"filter": "outcome:refused"})
    assert refused.total == 1 and client.call("audit.verify").ok
