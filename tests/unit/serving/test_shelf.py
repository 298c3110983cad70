"""A folder of models: what is loaded is read from it again, and each version keeps its number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.serving.deployment import Routes, read_routes
from mlops_tui.serving.process.shelf import Shelf


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository of two models, one of them with two versions."""
    made = tmp_path / "models"
    for name in ("many/1/model.onnx", "many/2/model.onnx", "first.onnx"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(name.encode())
    return made


@pytest.fixture
def shelf(folder: Path, tmp_path: Path) -> Shelf:
    return Shelf(folder, tmp_path)


def after(shelf: Shelf, tmp_path: Path, verb: str, name: str, version: str = "") -> Routes:
    """Return the routes as they are once a wish was carried out."""
    at = shelf.change(verb, name, version)
    routes = read_routes(tmp_path)
    assert routes.at == at
    return routes


def labels(routes: Routes, name: str) -> dict[str, float]:
    return {one.label: one.weight for one in routes.others.get(name, ())}


def test_a_version_that_came_later_is_loaded_and_answers_who_names_none(
    shelf: Shelf, folder: Path, tmp_path: Path
) -> None:
    (folder / "many" / "10").mkdir()
    (folder / "many" / "10" / "model.onnx").write_bytes(b"newest")
    routes = after(shelf, tmp_path, "load", "many")
    assert labels(routes, "many") == {"1": 0.0, "2": 0.0, "10": 100.0}
    assert len({one.no for one in routes.everyone}) == 4


def test_a_new_model_is_found(shelf: Shelf, folder: Path, tmp_path: Path) -> None:
    (folder / "late.onnx").write_bytes(b"late")
    routes = after(shelf, tmp_path, "load", "late")
    assert labels(routes, "late") == {"1": 100.0} and "late" in routes.shelf


def test_a_changed_file_is_another_model_under_the_same_number(shelf: Shelf, folder: Path, tmp_path: Path) -> None:
    before = {one.id: one for one in shelf.routes().everyone}
    (folder / "many" / "2" / "model.onnx").write_bytes(b"other content")
    routes = after(shelf, tmp_path, "load", "many", "2")
    now = {one.id: one for one in routes.everyone}
    assert now["many/2"].model.key != before["many/2"].model.key and now["many/2"].no == before["many/2"].no
    assert now["many/1"] == before["many/1"]


def test_to_load_one_version_leaves_the_others_as_they_were_loaded(shelf: Shelf, folder: Path, tmp_path: Path) -> None:
    before = {one.id: one.model.key for one in shelf.routes().everyone}
    os.utime(folder / "many" / "1" / "model.onnx", (1, 1))
    now = {one.id: one.model.key for one in after(shelf, tmp_path, "load", "many", "2").everyone}
    assert now["many/1"] == before["many/1"]


def test_a_model_that_is_gone_can_be_unloaded_but_not_loaded(shelf: Shelf, folder: Path, tmp_path: Path) -> None:
    for version in ("1", "2"):
        (folder / "many" / version / "model.onnx").unlink()
    assert labels(after(shelf, tmp_path, "unload", "many", "2"), "many") == {"1": 100.0}
    assert labels(after(shelf, tmp_path, "unload", "many"), "many") == {}
    with pytest.raises(NotFound, match="it has first"):
        shelf.change("load", "many", "")


def test_what_is_refused_is_taken_back(shelf: Shelf, folder: Path, tmp_path: Path) -> None:
    before = shelf.routes()
    (folder / "first.onnx").write_bytes(b"broken")
    shelf.change("load", "first", "")
    shelf.undo()
    assert read_routes(tmp_path).revisions == before.revisions


def test_the_servers_own_model_is_kept_when_it_is_unloaded(shelf: Shelf, folder: Path, tmp_path: Path) -> None:
    before = shelf.routes().revisions
    routes = after(shelf, tmp_path, "unload", "first")
    assert routes.away and routes.revisions == before and "first" in routes.shelf
    routes = after(shelf, tmp_path, "load", "first")
    assert not routes.away and routes.revisions == before


def test_two_files_of_one_name_are_told(shelf: Shelf, folder: Path) -> None:
    (folder / "First.onnx").write_bytes(b"x")
    with pytest.raises(BadInput, match="called first"):
        shelf.change("load", "first", "")
