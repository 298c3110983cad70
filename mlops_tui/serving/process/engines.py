"""The processes of models that run in ones of their own: started once for all workers, and again when they die.

Workers knock at an engine's door in the folder (:mod:`mlops_tui.serving.models.remote`). A crash costs the requests
that were under way there. The process is started again after a while that doubles with every crash; when it crashes
again and again the circuit opens: it is left alone for a time.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import time
from collections import deque
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mlops_tui.core.errors import MlopsError
from mlops_tui.core.paths import private_dir
from mlops_tui.serving.deployment import DOORS, FEATURES, Deployment, door_of
from mlops_tui.serving.deployment import Model as ModelPlace
from mlops_tui.serving.models.engine.frame import receive_head
from mlops_tui.serving.models.launch import FormerLife, Life, Wishes
from mlops_tui.serving.models.unseal import Vault

CRASHES, WITHIN_S = 3, 60.0
"""So many crashes within so many seconds open the circuit."""
OPEN_S, OPEN_MOST_S = 15.0, 300.0
_BACK_OFF_S, _SETTLED_S = 0.1, 10.0
_WORDS_S = 1.0
_log = logging.getLogger("mlops.serving")


class Engine:
    """One process of a model, and the next one when it dies.

    Args:
        name: what to call it in the log.
        wishes: how it is to be run.
        fd: memory file of the model; stays the caller's.
        door: where workers find it.

    Attributes:
        about: what the model said of itself; empty until it was loaded once.
        opens: until when it is left alone (monotonic).
        restarts: how many times it was started again.
        ended: how the last process that died did.
        why: why it cannot be loaded; nobody tries again.
    """

    def __init__(self, name: str, wishes: Wishes, fd: int, door: Path) -> None:
        self._name, self._wishes, self._fd, self._door = name, wishes, fd, door
        self._life: Life | FormerLife | None = None
        self._since, self._start_at = 0.0, 0.0
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._open_s, self._failures = OPEN_S, 0
        self.opens = 0.0
        self.ready = False
        self.about: dict[str, Any] = {}
        self.restarts = 0
        self.ended = ""
        self.why = ""

    @property
    def state(self) -> str:
        """``ready``, ``starting`` (again after a crash), or ``open``: crashed too often, and left alone for a while."""
        if self.ready:
            return "ready"
        return "open" if self.opens > time.monotonic() else "starting"

    @property
    def folder(self) -> str:
        """The process's own folder; empty while that is not known."""
        folder = self._life.folder if self._life is not None else None
        return str(folder) if folder is not None else ""

    def adopt(self, about: dict[str, Any], folder: str) -> None:
        """Take over the process of a supervisor that died, if it still answers; it may be in the middle of a run.

        Args:
            about: what the model said of itself.
            folder: the process's own; cleared up when it is gone as well.
        """
        self.about = about
        try:
            self._life = FormerLife(self._door)
        except OSError:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            return
        self.ready, self._since = True, time.monotonic()
        _log.info("took over the process of model %s", self._name)

    def turn(self) -> None:
        """Start the process if its time has come, and hear what it says."""
        if self.why:
            return
        if self._life is None:
            if time.monotonic() >= self._start_at:
                self._start()
        elif select.select([self._life.line], (), (), 0)[0]:
            self._hear(self._life)
        elif not self.ready and time.monotonic() - self._since > self._wishes.load_s:
            self._life.end()
            self._unloadable(f"the model is not loaded after {self._wishes.load_s:g} s · is it too large?")

    def _start(self) -> None:
        self._since = time.monotonic()
        self.restarts += bool(self.about)
        try:
            self._life = Life(self._wishes, self._fd, self._door)
        except MlopsError as error:
            self._unloadable(str(error))

    def _hear(self, life: Life | FormerLife) -> None:
        try:
            life.line.settimeout(_WORDS_S)
            message = receive_head(life.line)
        except (EOFError, OSError):
            self._lost(life)
            return
        if message["op"] == "ready":
            self.ready, self.about = True, message
            life.folder = Path(message["folder"])
        else:
            life.end()
            self._unloadable(f"the model cannot be loaded · {message['why']}")

    def _lost(self, life: Life | FormerLife) -> None:
        """Clear up behind a process, and say when the next starts."""
        self.ended, now = life.end(), time.monotonic()
        if not self.ready:
            self._unloadable(f"the process of the model died while it loaded · {self.ended}")
            return
        self._life, self.ready = None, False
        if now - self._since > _SETTLED_S:
            self._failures = 0
        if now - self._since > WITHIN_S:
            self._open_s = OPEN_S
        self._crashes.append(now)
        self._failures += 1
        delay = _BACK_OFF_S * 2.0 ** min(self._failures - 1, 6)
        if len(self._crashes) == CRASHES and now - self._crashes[0] < WITHIN_S:
            delay, self._open_s = self._open_s, min(self._open_s * 2, OPEN_MOST_S)
            self.opens = now + delay
            self._crashes.clear()
        self._start_at = time.monotonic() + delay
        _log.error("the process of model %s died (%s); the next starts in %.1f s", self._name, self.ended, delay)

    def _unloadable(self, why: str) -> None:
        """Give up on a model that was never loaded; try one that was again, later."""
        self._life = None
        if not self.about:
            self.why = why
            return
        self._failures += 1
        delay = min(_BACK_OFF_S * 2.0 ** min(self._failures, 12), OPEN_MOST_S)
        self._start_at = time.monotonic() + delay
        _log.error("model %s does not come up again: %s; the next try is in %.1f s", self._name, why, delay)

    def release(self) -> Life | FormerLife | None:
        """Let go of the process: it ends when its last worker hangs up."""
        self._door.unlink(missing_ok=True)
        life, self._life = self._life, None
        if life is not None:
            life.line.close()
        return life


class Engines:
    """The engines of a deployment's models, so many of each as it says.

    Args:
        deployment: how they are to be run; the process must be in its folder.
        vault: where the models' files are.
        former: what the last supervisor said of its engines, by the models' keys.
    """

    def __init__(self, deployment: Deployment, vault: Vault, former: Mapping[str, dict[str, Any]]) -> None:
        self._deployment, self._vault, self._former = deployment, vault, former
        self._all: dict[str, list[Engine]] = {}
        self._files: dict[str, int] = {}
        self._leaving: list[Life | FormerLife] = []
        private_dir(Path(DOORS))

    def want(self, models: Mapping[str, ModelPlace]) -> None:
        """Have engines for models that need any; what runs already stays, unless its file was exchanged.

        Raises:
            MlopsError: a file cannot be had.
        """
        for key, model in models.items():
            if not _runs_apart(model):
                continue
            fd = self._vault.open(model)
            if key in self._all and not os.path.sameopenfile(fd, self._files[key]):
                self._release(key)
            if key not in self._all:
                self._files[key] = os.dup(fd)
                self._all[key] = [self._made(model, n) for n in range(self._deployment.engines)]

    def _made(self, model: ModelPlace, number: int) -> Engine:
        facts = self._deployment
        wishes = Wishes(
            model.engine, bool(model.parts), model.signature, facts.python, facts.threads, facts.memory_mb << 20,
            facts.load_s, facts.timeout_s,
        )  # fmt: skip
        engine = Engine(model.key[:12], wishes, self._files[model.key], door_of(facts, model.key, number))
        if (former := self._former.get(model.key)) is not None:
            engine.adopt(former["about"], former["folders"][number] if number < len(former["folders"]) else "")
        return engine

    def keep(self, keys: Collection[str]) -> None:
        """Let go of the engines of every other model."""
        for key in self._all.keys() - keys:
            self._release(key)

    def _release(self, key: str) -> None:
        self._leaving += filter(None, (engine.release() for engine in self._all.pop(key)))
        os.close(self._files.pop(key))

    def turn(self) -> None:
        """Start what is to be started, hear what engines say, and clear up behind those that have left."""
        for engines in self._all.values():
            for engine in engines:
                engine.turn()
        for life in [life for life in self._leaving if life.ended()]:
            life.end()
            self._leaving.remove(life)

    def refusal(self, keys: Collection[str]) -> str:
        """Return why one of the models cannot be loaded; nothing when all can, or may."""
        return next((one.why for key in keys for one in self._all.get(key, ()) if one.why), "")

    def loaded(self, models: Mapping[str, ModelPlace]) -> bool:
        """Tell whether every engine that models need has been loaded once."""
        needed = [key for key, model in models.items() if _runs_apart(model)]
        return all(key in self._all and all(one.about for one in self._all[key]) for key in needed)

    def told(self) -> dict[str, dict[str, Any]]:
        """Return what workers must know: what each model takes and gives, and until when it is left alone."""
        return {
            key: {"about": engines[0].about, "opens": _opens(engines)}
            for key, engines in self._all.items()
            if engines[0].about
        }

    @property
    def known(self) -> dict[str, dict[str, Any]]:
        """What the next supervisor must know to take the engines over."""
        return {
            key: {"about": engines[0].about, "folders": [one.folder for one in engines]}
            for key, engines in self._all.items()
            if engines[0].about
        }

    def condition(self, key: str) -> dict[str, Any]:
        """Return how the engines of a model fare; of several the one that fares worst. Nothing if it has none."""
        engines = self._all.get(key, ())
        if not engines:
            return {}
        worst = max(engines, key=lambda one: ("ready", "starting", "open").index(one.state))
        ended = next((one.ended for one in engines if one.ended), "")
        found = {"state": worst.state, "restarts": sum(one.restarts for one in engines)}
        return {**found, "ended": ended} if ended else found

    def end(self) -> None:
        """End them all: nobody asks any more."""
        for key in list(self._all):
            self._release(key)
        for life in self._leaving:
            life.end()


def _runs_apart(model: ModelPlace) -> bool:
    return model.engine not in ("onnx", FEATURES)


def _opens(engines: list[Engine]) -> float:
    """Return until when all are left alone; 0 when one is not."""
    return min(one.opens for one in engines) if all(one.state == "open" for one in engines) else 0.0
