"""A folder of models, each of which can be loaded and unloaded while others answer.

What is asked to be loaded is read from the folder again: a new model or version is found, a changed one is taken in.
The first model, which answers ``/invocations``, stays in memory when it is unloaded.

A model is a file (``NAME.onnx``, ``NAME.pt``, ``NAME.pt2``), the folder of an MLflow model, a bundle, or a folder with
a folder a version (``NAME/1/model.onnx``), of which the highest number answers who asks for none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
from blake3 import blake3

from mlops_tui.core.errors import BadInput, NotFound, Refused
from mlops_tui.serving.deployment import ROUTES, Generation, Model, Revision, Routes, write_json
from mlops_tui.serving.models import bundle
from mlops_tui.serving.models.sources import Source, find_model, named

ENDINGS = (".onnx", ".pt", ".pt2")
_Loaded = dict[str, tuple[Revision, ...]]


def is_shelf(path: Path) -> bool:
    """Tell whether a folder holds models and is none itself."""
    return path.is_dir() and not bundle.is_bundle(path) and not (path / "MLmodel").exists() and bool(_entries(path))


class Shelf:
    """The models of a folder, and which of them are loaded: all, at first.

    Args:
        path: the folder.
        deployment: folder of the server, where the routes are written.

    Raises:
        BadInput: two models have one name.
    """

    def __init__(self, path: Path, deployment: Path) -> None:
        self._path, self._folder, self._generation = path, deployment, 1
        self._numbers: dict[str, int] = {}
        self._known: _Loaded = {name: self._read(entry, name) for name, entry in _by_name(path).items()}
        self._loaded = dict(self._known)
        self._before = (self._known, self._loaded)
        self.name = next(iter(self._known))
        self._own = self._loaded[self.name]

    def _read(self, entry: Path, name: str) -> tuple[Revision, ...]:
        """Return the versions of a model as they lie there now; each keeps its number."""
        numbers = self._numbers
        return _weighted(
            Revision(ident, numbers.setdefault(ident, len(numbers) + 1), label, model)
            for label, model in _places(entry)
            for ident in [f"{name}/{label}"]
        )

    def _look(self, name: str) -> None:
        """Know a model as it lies in the folder now; one that is gone from there is known as long as it is loaded."""
        try:
            entry = _by_name(self._path).get(name)
            found = {name: self._read(entry, name)} if entry is not None else {}
        except OSError as error:
            raise BadInput(f"cannot read {name} in the repository", str(error)) from error
        loaded = {one: some for one, some in self._known.items() if one != name or one in self._loaded}
        self._known = {**loaded, **found}

    @property
    def source(self) -> Source:
        """The model that is the server's own: the first by its name."""
        return Source(self.name, self._loaded[self.name], also=tuple(name for name in self._known if name != self.name))

    def routes(self) -> Routes:
        """Return the routes that show what is loaded."""
        others = {name: revisions for name, revisions in self._loaded.items() if name != self.name}
        self._own = self._loaded.get(self.name, self._own)
        away = self.name not in self._loaded
        return Routes(1, self._generation, self._own, others=others, shelf=tuple(self._known), away=away)

    def change(self, verb: str, name: str, version: str) -> Generation:
        """Load or unload a model, or one version of it; returns the routes that show it.

        Raises:
            NotFound: there is no such model or version.
        """
        self._before = (self._known, self._loaded)
        if verb == "load":
            self._look(name)
        known = self._known.get(name, ())
        if not known:
            raise NotFound(f"there is no model {name!r} in the repository", f"it has {', '.join(self._known)}")
        chosen = {one.label: one for one in known if version in ("", one.label)}
        if not chosen:
            raise NotFound(f"{name} has no version {version!r}", f"it has {', '.join(one.label for one in known)}")
        kept = {one.label: one for one in self._loaded.get(name, ()) if version and one.label not in chosen}
        if verb == "load":
            kept |= chosen
        self._loaded = {one: some for one, some in self._loaded.items() if one != name}
        if kept:
            order = [one.label for one in known]
            gone = [one for label, one in kept.items() if label not in order]
            self._loaded[name] = _weighted([*gone, *(kept[label] for label in order if label in kept)])
        return self.write()

    def undo(self) -> None:
        """Go back to what was loaded before the last change: it was refused."""
        self._known, self._loaded = self._before
        self.write()

    def write(self) -> Generation:
        """Write the routes of what is loaded."""
        self._generation += 1
        routes = self.routes()
        write_json(self._folder / ROUTES, msgspec.to_builtins(routes))
        return routes.at


def _by_name(path: Path) -> dict[str, Path]:
    """Return what in a folder is a model, by its name.

    Raises:
        BadInput: two have one name.
    """
    found: dict[str, Path] = {}
    for entry in _entries(path):
        name = named(entry.stem if entry.is_file() else entry.name)
        if name in found:
            raise BadInput(f"two models in {path} are called {name}", "", "rename one")
        found[name] = entry
    return found


def _entries(path: Path) -> list[Path]:
    """Return what in a folder is a model."""
    found = []
    for one in sorted(path.iterdir()):
        inner = one.is_dir() and (bundle.is_bundle(one) or (one / "MLmodel").exists() or bool(_versions(one)))
        if inner or (one.is_file() and one.suffix in ENDINGS):
            found.append(one)
    return found


def _versions(path: Path) -> dict[int, Path]:
    """Return the file or folder of each version by its number."""
    found: dict[int, Path] = {}
    for one in path.iterdir():
        if one.is_dir() and one.name.isdecimal():
            files = [file for file in one.iterdir() if file.suffix in ENDINGS]
            if (one / "MLmodel").exists() or len(files) == 1:
                found[int(one.name)] = one if not files or (one / "MLmodel").exists() else files[0]
    return found


def _places(entry: Path) -> list[tuple[str, Model]]:
    """Return the label of each version of a model, and where it lies, the oldest first."""
    if entry.is_dir() and bundle.is_bundle(entry):
        made = bundle.read(entry).revisions
        if any(one.weight and one.role == "shadow" for one in made):
            raise Refused(f"{entry} has a shadow", "in a folder of models every revision answers for itself")
        return [(one.label, one.model) for one in made]
    versions = {str(number): place for number, place in sorted(_versions(entry).items())} if entry.is_dir() else {}
    return [(label, _stamped(find_model(place))) for label, place in (versions or {"1": entry}).items()]


def _stamped(model: Model) -> Model:
    """Return a model with what changes when its files do: one that was loaded is told from one that replaced it."""
    stats = [os.stat(part.file) for part in model.parts] or [os.stat(model.file)]
    stamp = repr([(one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in stats])
    return msgspec.structs.replace(model, digest=blake3(f"{model.file} {stamp}".encode()).hexdigest()[:32])


def _weighted(revisions: Iterable[Revision]) -> tuple[Revision, ...]:
    """Give the last revision all traffic that names none."""
    *older, last = revisions
    return (*(msgspec.structs.replace(one, weight=0.0) for one in older), msgspec.structs.replace(last, weight=100.0))
