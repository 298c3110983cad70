"""What our own worker modules are given: the request, a client of the door, and a way to hand in the result."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import uuid
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_tui.client import Client
from mlops_tui.core.errors import MlopsError
from mlops_tui.core.paths import home

if TYPE_CHECKING:
    from mlops_tui.blobs import Blobs


class WorkerJob:
    """This job, as its worker sees it."""

    def __init__(self, identifier: str) -> None:
        self.id = identifier

    @cached_property
    def client(self) -> Client:
        """A client of the agent; it starts one when the agent has died meanwhile."""
        return Client()

    @cached_property
    def blobs(self) -> Blobs:
        """The artifacts of this home."""
        from mlops_tui.blobs import Blobs
        from mlops_tui.core.config import load
        from mlops_tui.keys import open_keys
        from mlops_tui.plugins.loader import key_sources

        where = home()
        return Blobs(where.blobs, open_keys(where, load(where=where), key_sources(), must_exist=True))

    def request_id(self, step: str) -> str:
        """Return the request id of one step: a worker that is run again commits the step once."""
        return str(uuid.uuid5(uuid.UUID(self.id), step))

    def progress(self, share: float) -> None:
        """Say how far the work is, 0 to 1."""
        self.client.call("job.progress", {"job": self.id, "share": share})


def serve(work: Callable[[dict[str, Any], WorkerJob], dict[str, Any]]) -> None:
    """Run a worker module: read the request, work, hand in the result or the error, exit."""
    # Not the signal's own end: what was unsealed for this job must be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    job = WorkerJob(os.environ["MLOPS_JOB_ID"])
    request = msgspec.json.decode(sys.stdin.buffer.read())
    try:
        outcome: dict[str, Any] = {"result": work(request, job)}
    except MlopsError as error:
        print(error, file=sys.stderr)
        outcome = {"error": error.record()}
    except Exception as error:
        traceback.print_exc()
        outcome = {
            "error": MlopsError(
                f"{type(error).__name__}: {error}", "the worker met an error of its own", "mlops job log shows where"
            ).record()
        }
    job.client.call("job.finish", {"job": job.id, **outcome}, request_id=job.request_id(f"finish {os.getpid()}"))
    sys.exit(1 if "error" in outcome else 0)
