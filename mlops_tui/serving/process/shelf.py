"""A folder of models, each of which can be loaded and unloaded while others answer.

A model is a file (``NAME.onnx``, ``NAME.pt``, ``NAME.pt2``), the folder of an MLflow model, a bundle, or a folder with
a folder a version (``NAME/1/model.onnx``), of which the highest number answers who asks for none.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from mlops_tui.core.errors import BadInput, Conflict, NotFound, Refused
from mlops_tui.serving.deployment import ROUTES, Generation, Revision, Routes, write_json
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
        self._folder, self._generation = deployment, 1
        self._known: _Loaded = {}
        for entry in _entries(path):
            name = named(entry.stem if entry.is_file() else entry.name)
            if name in self._known:
                raise BadInput(f"two models in {path} are called {name}", "", "rename one")
            self._known[name] = _revisions(entry, name, sum(map(len, self._known.values())))
        self._loaded: _Loaded = dict(self._known)
        self._before = dict(self._loaded)
        self.name = next(iter(self._known))

    @property
    def source(self) -> Source:
        """The model that is the server's own: the first by its name."""
        return Source(self.name, self._loaded[self.name], also=tuple(name for name in self._known if name != self.name))

    def routes(self) -> Routes:
        """Return the routes that show what is loaded."""
        others = {name: revisions for name, revisions in self._loaded.items() if name != self.name}
        return Routes(1, self._generation, self._loaded[self.name], others=others, shelf=tuple(self._known))

    def change(self, verb: str, name: str, version: str) -> Generation:
        """Load or unload a model, or one version of it; returns the routes that show it.

        Raises:
            NotFound: there is no such model or version.
            Conflict: it is the server's own, which stays.
        """
        if name not in self._known:
            raise NotFound(f"there is no model {name!r} in the repository", f"it has {', '.join(self._known)}")
        chosen = [one for one in self._known[name] if version in ("", one.label)]
        if not chosen:
            raise NotFound(
                f"{name} has no version {version!r}", f"it has {', '.join(r.label for r in self._known[name])}"
            )
        kept = {one.label for one in self._loaded.get(name, ())}
        meant = {one.label for one in chosen}
        kept = kept | meant if verb == "load" else kept - meant
        if not kept and name == self.name:
            raise Conflict(f"{name} is the server's own model", "it answers /invocations and cannot be unloaded")
        self._before = dict(self._loaded)
        self._loaded.pop(name, None)
        if kept:
            self._loaded[name] = _weighted(one for one in self._known[name] if one.label in kept)
        return self.write()

    def undo(self) -> None:
        """Go back to what was loaded before the last change: it was refused."""
        self._loaded = dict(self._before)
        self.write()

    def write(self) -> Generation:
        """Write the routes of what is loaded."""
        self._generation += 1
        routes = self.routes()
        write_json(self._folder / ROUTES, msgspec.to_builtins(routes))
        return routes.at


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


def _revisions(entry: Path, name: str, before: int) -> tuple[Revision, ...]:
    if entry.is_dir() and bundle.is_bundle(entry):
        made = list(bundle.read(entry).revisions)
        if any(one.weight and one.role == "shadow" for one in made):
            raise Refused(f"{entry} has a shadow", "in a folder of models every revision answers for itself")
        places = [(one.label, one.model) for one in made]
    elif versions := (_versions(entry) if entry.is_dir() else {}):
        places = [(str(number), find_model(versions[number])) for number in sorted(versions)]
    else:
        places = [("1", find_model(entry))]
    return _weighted(
        Revision(f"{name}/{label}", before + at, label, model) for at, (label, model) in enumerate(places, 1)
    )


def _weighted(revisions: Iterable[Revision]) -> tuple[Revision, ...]:
    """Give the last revision all traffic that names none."""
    *older, last = revisions
    return (*(msgspec.structs.replace(one, weight=0.0) for one in older), msgspec.structs.replace(last, weight=100.0))
