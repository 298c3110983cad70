"""The models that a worker holds: their memory files, what was loaded from them, and the thread that loads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlops_tui.core.errors import BadInput
from mlops_tui.core.paths import home
from mlops_tui.serving.deployment import FEATURES, Deployment, door_of
from mlops_tui.serving.deployment import Model as ModelPlace
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.models.pool import Pool
from mlops_tui.serving.models.session import Wish
from mlops_tui.serving.models.sharing import in_order, lanes
from mlops_tui.serving.models.unseal import place_of

_log = logging.getLogger("mlops.serving")


class Holding:
    """Models by their keys.

    Args:
        deployment: how they are to be loaded.
        worker: the number of the worker.

    Attributes:
        files: the memory files, the table of online features included.
        models: what is loaded.
        in_use: keys that the routes in force need; these are neither exchanged nor forgotten.
        engines: what the supervisor says of models that run in processes of their own: ``about`` them, and until when
            each is left alone (``opens``, monotonic).
    """

    def __init__(self, deployment: Deployment, worker: int = 0) -> None:
        self._deployment, self._worker = deployment, worker
        self.engines: dict[str, dict[str, Any]] = {}
        self.files: dict[str, int] = {}
        self.models: dict[str, Model] = {}
        self.in_use: Collection[str] = ()
        self._wish = Wish(
            deployment.threads, deployment.provider, deployment.provider_policy, deployment.gpu_memory_mb << 20,
            home().cache / "engines",
        )  # fmt: skip
        self._loader = self._new_loader()

    def keep(self, key: str, fd: int) -> None:
        """Keep the memory file of a model; of a plain file that was changed, the newer one unless it is in use."""
        old = self.files.get(key)
        if old is not None and (key in self.in_use or os.path.sameopenfile(old, fd)):
            os.close(fd)
            return
        if old is not None:
            os.close(old)
            self._unload(key)
        self.files[key] = fd

    async def load(self, wanted: Mapping[str, ModelPlace], late: Callable[[], None]) -> None:
        """Load and warm what is new, beside the traffic.

        Args:
            wanted: models by their keys, whose files are here.
            late: called in the loop after each run of a model that has a thread of its own.

        Raises:
            BadInput: a model cannot be loaded, or not in time.
        """
        loop = asyncio.get_running_loop()
        for key, model in wanted.items():
            if key not in self.models and model.engine != FEATURES:
                executor = self._loader if model.engine == "onnx" else None
                loading = loop.run_in_executor(executor, self._loaded, model)
                try:
                    self.models[key] = await asyncio.wait_for(loading, self._deployment.load_s)
                except TimeoutError:
                    self._loader = self._new_loader()  # the other thread may never come back
                    words = f"the model is not loaded after {self._deployment.load_s:g} s"
                    raise BadInput(words, key[:12], "is it too large?") from None
                if model.engine != "onnx":
                    at_once = lanes(self._deployment.workers, self._deployment.engines)
                    self.models[key].lane = Pool(loop, at_once, self._deployment.slow_queue, late)

    def _new_loader(self) -> ThreadPoolExecutor:
        """Return a thread that loads models; it gives way to requests unless the runtime's own threads would too."""
        return ThreadPoolExecutor(1, "mlops-load", _give_way if self._deployment.threads == 1 else None)

    def _loaded(self, model: ModelPlace) -> Model:
        """Load one model; runs on the loader's thread."""
        made = Model(place_of(self.files[model.key]), self._wish) if model.engine == "onnx" else self._remote(model)
        if made.warm_up_error:
            _log.warning("model %s refused a row of zeros: %s", model.key[:12], made.warm_up_error)
        return made

    def _remote(self, model: ModelPlace) -> Model:
        from mlops_tui.serving.models.remote import Remote
        from mlops_tui.serving.models.remote_model import RemoteModel

        facts, key = self._deployment, model.key
        doors = [door_of(facts, key, n) for n in in_order(self._worker, facts.workers, facts.engines)]
        at_once = lanes(facts.workers, facts.engines)
        remote = Remote(doors, at_once, facts.timeout_s, lambda: float(self.engines.get(key, {}).get("opens", 0.0)))
        return RemoteModel(model.engine, self.engines[key]["about"], remote)

    def conditions(self) -> dict[str, dict[str, Any]]:
        """Return how the engines fare."""
        return {key: model.condition for key, model in self.models.items()}

    def forget(self) -> None:
        """Let go of what is not in use."""
        for key in self.files.keys() - self.in_use:
            os.close(self.files.pop(key))
        for key in self.models.keys() - self.in_use:
            self._unload(key)

    def _unload(self, key: str) -> None:
        if (stale := self.models.pop(key, None)) is not None:
            self._loader.submit(stale.close)

    def close(self) -> None:
        """Close every model: the process ends."""
        for model in self.models.values():
            model.close()


def _give_way() -> None:
    """Lower the priority of this thread: on Linux it belongs to a thread, and is inherited by those it starts."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
