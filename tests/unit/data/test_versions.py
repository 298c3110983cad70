"""Data set versions and feature definitions at the door, without a worker: numbers, names, labels, refusals."""

from __future__ import annotations

import os

import msgspec
import pytest

from mlops_tui.contracts.operation import find
from mlops_tui.core.errors import BadInput, Conflict, NotFound, Refused
from mlops_tui.data.labels import joined
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import Wish, perform

FEATURES = """
entity: person
key: id
label: employed
inputs: {AGEP: DOUBLE}
features:
  - {name: age, version: 1, dtype: float, expr: "AGEP"}
  - {name: half, version: 1, dtype: float, expr: "AGEP / 2"}
"""
PROFILE = {"rows": 3, "columns": []}


@pytest.fixture
def call(house, tmp_path):
    def asked(name, /, *, dry_run=False, tenant="default", **request):
        caller = Caller("amal", os.getuid(), tenant, cwd=str(tmp_path))
        return perform(house, name, msgspec.convert(request, find(name).request), caller, Wish(dry_run=dry_run))

    return asked


@pytest.fixture
def commit(call, house):
    """Commit a version as a worker does, with this text for its content."""

    def made(name, text, **facts):
        blob = house.blobs.put_bytes(text.encode())
        columns = [{"name": "id", "type": "BIGINT"}]
        body = {"path": f"/data/{name}", "rows": 3, "format": "csv", "schema": columns, "profile": PROFILE, **facts}
        return call("data.commit", name=name, digest=blob.digest, size=blob.size, **body)

    return made


def rows_of(table):
    return [dict(zip([column.name for column in table.columns], row, strict=True)) for row in table.rows]


def test_versions_are_counted_and_the_same_content_is_the_version_that_it_was(commit, call):
    first, second, again = commit("census", "a"), commit("census", "b"), commit("census", "a")
    assert [one.version for one in (first, second, again)] == [1, 2, 1]
    assert again.id == first.id and commit("other", "a").version == 1
    assert [(row["name"], row["version"]) for row in rows_of(call("data.list", sort="version"))] == [
        ("census", 1),
        ("other", 1),
        ("census", 2),
    ]
    last = rows_of(call("audit.list", filter="text~unchanged"))
    assert [row["object"] for row in last] == ["data:census@1"]


def test_a_version_is_found_by_all_its_names(commit, call):
    commit("census", "a")
    newest = commit("census", "b")
    for reference in ("census", "census@2", "data:census@2", newest.id):
        assert call("data.show", data=reference).id == newest.id
    assert call("data.show", data="census@1").version == 1
    for reference in ("census@3", "census@x", "none"):
        with pytest.raises(NotFound, match="there is no data set"):
            call("data.show", data=reference)
    with pytest.raises(NotFound):
        call("data.show", data="census", tenant="acme")


def test_a_version_needs_its_content(call):
    with pytest.raises(BadInput, match="is not in this home"):
        call(
            "data.commit", name="x", path="", digest="0" * 64, size=1, rows=1, format="csv", schema=[], profile=PROFILE
        )


def test_parents_are_resolved_and_linked(commit, call, house):
    raw, labels = commit("raw", "a"), commit("labels", "b")
    made = commit("train", "c", parent="raw,labels@1")
    assert made.parent == "raw@1,labels@1"
    assert call("data.show", data="raw").consumers == [f"dataset_version:{made.id}"]
    edges = house.read(lambda s: s.rows("SELECT src, rel, dst FROM link ORDER BY dst"))
    assert sorted(edges) == sorted(
        (f"dataset_version:{made.id}", "made_from", f"dataset_version:{one.id}") for one in (raw, labels)
    )
    with pytest.raises(NotFound, match="there is no data set gone"):
        commit("train", "d", parent="gone")


def test_what_is_wrong_is_told_before_a_job_is_spent(call, tmp_path, house):
    (tmp_path / "a.csv").write_text("id\n1\n")
    cases = [
        ({"path": "none.csv"}, NotFound, "there is no file"),
        ({"path": "."}, BadInput, "is a folder"),
        ({"checks": "none.yaml"}, NotFound, "there is no file"),
        ({"parent": "gone"}, NotFound, "there is no data set gone"),
        ({"classification": "secret"}, BadInput, "there is no classification 'secret'"),
        ({"residency": "the moon"}, BadInput, "'the moon' is no jurisdiction"),
    ]
    for request, error, said in cases:
        with pytest.raises(error, match=said):
            call("data.add", **{"name": "x", "path": "a.csv", **request})
    assert house.read(lambda s: s.value("SELECT count(*) FROM job")) == 0
    plan = call("data.add", name="x", path="a.csv", dry_run=True)
    assert plan.text == "take in a.csv as x"
    assert call("data.add", name="x", path="a.csv", residency="AE, AE-DIFC").text == plan.text
    assert house.read(lambda s: s.value("SELECT status FROM job")) == "queued"


def test_tags_are_set_changed_and_removed(commit, call):
    commit("census", "a")
    call("data.tag", data="census", tags={"stage": "gold", "owner": "noor"})
    call("data.tag", data="census", tags={"stage": "silver", "owner": ""})
    assert call("data.show", data="census").tags == {"stage": "silver"}
    plan = call("data.tag", data="census", tags={"stage": "silver", "new": "1", "gone": ""}, dry_run=True)
    assert [(one.field, one.before, one.after) for one in plan.changes] == [("new", None, "1")]


def sources(*pairs):
    return [{"classification": classification, "residency": residency} for classification, residency in pairs]


def test_what_is_made_of_data_keeps_its_labels():
    assert joined(sources(("public", ""), ("personal", "AE"), ("internal", ""))) == {
        "classification": "personal",
        "residency": "AE",
    }
    assert joined(sources(("public", "AE,EU"), ("public", "EU, US")))["residency"] == "EU"
    assert joined(sources(("health", "")))["residency"] == ""
    with pytest.raises(Refused, match="may not be put together") as caught:
        joined(sources(("public", "AE"), ("public", "EU,US")))
    assert caught.value.why == "no place may hold all of them: AE and EU,US"


class TestFeatures:
    def apply(self, call, tmp_path, text=FEATURES, **request):
        (tmp_path / "features.yaml").write_text(text)
        return call("feature.apply", path="features.yaml", **request)

    def test_definitions_are_registered_once_and_never_change(self, call, tmp_path):
        assert self.apply(call, tmp_path).text == "apply features.yaml: 2 new of 2 features"
        assert self.apply(call, tmp_path).text == "apply features.yaml: 0 new of 2 features"
        with pytest.raises(Conflict, match="age@1 is registered with another definition") as caught:
            self.apply(call, tmp_path, FEATURES.replace('"AGEP"', '"AGEP + 1"'))
        assert caught.value.fix == "give it version 2"
        shown = call("feature.show", feature="age")
        assert (shown.definition.expr, shown.definition.entity, shown.consumers) == (
            "AGEP",
            "person",
            ["view:features"],
        )

    def test_every_version_in_a_file_is_registered(self, call, tmp_path, house):
        newer = '  - {name: age, version: 2, dtype: float, expr: "AGEP - 16"}\n'
        assert self.apply(call, tmp_path, FEATURES + newer, name="people").text.endswith("3 new of 3 features")
        assert call("feature.show", feature="age").definition.version == 2
        assert call("feature.show", feature="age@1").definition.expr == "AGEP"
        record = call("feature.view", view="people").record
        assert [(one["name"], one["version"]) for one in record["features"]] == [("age", 1), ("half", 1), ("age", 2)]
        assert call("feature.list").total == 3
        with pytest.raises(NotFound, match="there is no feature age@3"):
            call("feature.show", feature="age@3")

    def test_an_older_version_is_checked_too(self, call, tmp_path):
        older = FEATURES.replace('"AGEP"', '"random()"') + '  - {name: age, version: 2, dtype: float, expr: "AGEP"}\n'
        with pytest.raises(BadInput):
            self.apply(call, tmp_path, older)
        assert call("feature.list").total == 0

    def test_what_is_no_feature_file_is_refused(self, call, tmp_path):
        with pytest.raises(BadInput, match="is not a feature file"):
            self.apply(call, tmp_path, "key: [")
        with pytest.raises(BadInput, match="larger than 1,000,000 bytes"):
            self.apply(call, tmp_path, "#" * 1_000_001)
        with pytest.raises(NotFound, match="there is no file"):
            call("feature.apply", path="none.yaml")

    def test_a_training_set_is_planned_with_the_labels_of_its_sources(self, call, commit, tmp_path, house):
        self.apply(call, tmp_path)
        commit("people", "a", classification="personal", residency="AE")
        commit("labels", "b", classification="public")
        started = call("feature.training-set", data=["people+labels"], name="train")
        assert started.text == "compute features over people+labels as train"
        spec = msgspec.json.decode(house.read(lambda s: s.value("SELECT spec FROM job")))
        wanted = {"parent": "people@1,labels@1", "classification": "personal", "residency": "AE", "picked": []}
        assert {key: spec["request"][key] for key in wanted} == wanted

    def test_a_training_set_of_what_there_is_not_is_refused(self, call, commit, tmp_path):
        commit("people", "a", residency="AE")
        commit("abroad", "b", residency="US")
        with pytest.raises(NotFound, match="there is no feature view"):
            call("feature.training-set", data=["people"], name="train")
        self.apply(call, tmp_path)
        with pytest.raises(NotFound, match="there is no data set gone"):
            call("feature.training-set", data=["people+gone"], name="train")
        with pytest.raises(BadInput, match="no feature height"):
            call("feature.training-set", data=["people"], name="train", features=["height"])
        with pytest.raises(Refused, match="may not be put together"):
            call("feature.training-set", data=["people", "abroad"], name="train")


def test_what_is_no_file_is_said_to_be_what_it_is(call, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="pipe is not a file"):
        call("data.add", name="people", path="pipe", dry_run=True)
    with pytest.raises(NotFound, match="there is no file"):
        call("data.add", name="people", path="gone.csv", dry_run=True)
