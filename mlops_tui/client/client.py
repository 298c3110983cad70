"""The client for people who wait: one call, one answer."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar, overload

import msgspec

from mlops_tui.client import wire
from mlops_tui.client.start import Hello, UnixConnection, reach
from mlops_tui.contracts.operation import Answer, Operation, Plan, Request, Started
from mlops_tui.core.config import Config, load
from mlops_tui.core.errors import MlopsError, Unreachable, from_record
from mlops_tui.core.paths import Home, home

Ans = TypeVar("Ans", bound=Answer)


class Client:
    """A connection to the agent of one home. Not shared between threads.

    Args:
        where: the home; default, the one that the environment names.
        start: start the agent when none is running.
        timeout: seconds that one call may take.
    """

    def __init__(
        self, where: Home | None = None, *, start: bool = True, timeout: float = 60.0, config: Config | None = None
    ) -> None:
        self.home = where or home()
        self._config = config or load(where=self.home)
        self.hello: Hello = reach(self.home, start=start, timeout=float(self._config.get("agent.start_timeout_s")))
        self._connection = UnixConnection(str(self.home.socket), timeout)

    @overload
    def call(
        self,
        operation: Operation[Any, Ans],
        request: Request | dict[str, Any] | None = None,
        *,
        reason: str = ...,
        request_id: str = ...,
        digest: str = ...,
    ) -> Ans: ...

    @overload
    def call(
        self,
        operation: str,
        request: Request | dict[str, Any] | None = None,
        *,
        reason: str = ...,
        request_id: str = ...,
        digest: str = ...,
    ) -> Any: ...

    def call(
        self,
        operation: Operation[Any, Any] | str,
        request: Request | dict[str, Any] | None = None,
        *,
        reason: str = "",
        request_id: str = "",
        digest: str = "",
    ) -> Any:
        """Perform an operation and return its answer.

        Raises:
            MlopsError: what the agent refused, or Unreachable when it is gone.
        """
        return self._send(
            wire.operation_of(operation), request, dry_run=False, reason=reason, request_id=request_id, digest=digest
        )

    def plan(
        self, operation: Operation[Any, Any] | str, request: Request | dict[str, Any] | None = None, *, reason: str = ""
    ) -> Plan:
        """Return what a change would do, without doing it."""
        plan: Plan = self._send(
            wire.operation_of(operation), request, dry_run=True, reason=reason, request_id="", digest=""
        )
        return plan

    def follow(
        self, started: Started, on_change: Callable[[Any], None] = lambda job: None, every_s: float = 0.1
    ) -> dict[str, Any]:
        """Wait for a job and return its result.

        Args:
            started: the answer of the call that began it.
            on_change: called with the job whenever its state or progress differs.
            every_s: seconds between looks.

        Raises:
            MlopsError: the job failed; the error is the one that its worker met.
        """
        seen: tuple[Any, ...] = ()
        while True:
            job = self.call("job.show", {"job": started.job})
            if (now := (job.status, job.progress, job.attempt)) != seen:
                seen = now
                on_change(job)
            if job.ended is not None and job.status not in ("queued", "running"):
                if job.status == "done":
                    return job.result or {}
                raise (
                    from_record(job.error)
                    if job.error
                    else MlopsError(
                        f"the job {job.name} is {job.status}",
                        f"exit code {job.exit_code}",
                        f"mlops job log {job.id[-8:]}",
                    )
                )
            time.sleep(every_s)

    def run_job(
        self, operation: Operation[Any, Any] | str, request: Request | dict[str, Any] | None = None, **context: Any
    ) -> dict[str, Any]:
        """Begin long work and wait for its result; see :meth:`follow`."""
        return self.follow(self.call(operation, request, **context))

    def events(self, since: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield events of the change feed as they come.

        Raises:
            Unreachable: the agent is gone; go on with another from the last ``seq``.
        """
        connection = UnixConnection(str(self.home.socket), 3600.0)
        path = "/events" + (f"?since={since}" if since is not None else "")
        connection.request("GET", path, headers={wire.TENANT: self.tenant})
        answer = connection.getresponse()
        if answer.status >= 400:
            raise wire.failure(answer.status, answer.read())
        try:
            while line := answer.readline():
                if line.startswith(b"data: "):
                    yield msgspec.json.decode(line[6:])
            raise Unreachable("the agent is gone", "it closed the change feed", "mlops agent status")
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable("the agent is gone", str(error), "mlops agent status") from error
        finally:
            connection.close()

    @property
    def tenant(self) -> str:
        """The tenant that calls are made for."""
        return str(self._config.get("tenant"))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(
        self, operation: Operation[Any, Any], request: Any, *, dry_run: bool, reason: str, request_id: str, digest: str
    ) -> Any:
        body = wire.encode(operation, request)
        context = wire.headers(dry_run=dry_run, digest=digest, reason=reason, request_id=request_id, tenant=self.tenant)
        status, answer = self._exchange(f"/op/{operation.name}", body, context)
        return wire.decode(operation, status, answer, dry_run)

    def _exchange(self, path: str, body: bytes, context: dict[str, str]) -> tuple[int, bytes]:
        """Send until it is answered, though agents may die over it: the request id makes that safe."""
        for attempt in range(1, wire.ATTEMPTS + 1):
            try:
                self._connection.request("POST", path, body, context)
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if attempt == wire.ATTEMPTS or isinstance(error, TimeoutError):
                    raise Unreachable(
                        "the agent does not answer", str(error) or type(error).__name__, "mlops agent status"
                    ) from error
                reach(self.home, start=True, timeout=float(self._config.get("agent.start_timeout_s")))
        raise AssertionError("unreachable")
