"""The queue: what should run is started, what died is begun again or told. Looks at the store each time."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from typing import Any

import msgspec

from mlops_tui.contracts.agent import TRACKING_TOKEN, TRACKING_URI
from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.core.errors import MlopsError
from mlops_tui.core.launch import launch
from mlops_tui.door import Caller, Context, House, act, every, keeps_awake, refers
from mlops_tui.jobs import leftover
from mlops_tui.jobs.spec import Spec
from mlops_tui.spool.process import ProcessId, is_alive
from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
WORK_LANES = 2
UNBORN_S = 10
SETTLE_S = 2.0

_children: dict[str, subprocess.Popen[bytes]] = {}
"""The supervisors that this agent started and that still run, by job."""
_missed: dict[str, float] = {}


refers("SELECT unnest(regexp_extract_all(spec, '[0-9a-f]{64}')) FROM job")


@keeps_awake
def _has_jobs(session: Session) -> bool:
    return bool(session.value("SELECT count(*) > 0 FROM job WHERE status IN ('queued', 'running')"))


@every(1.0, "jobs.queue")
def turn(house: House) -> None:
    """Reap, find the lost, start the queued."""
    for job in [job for job, child in _children.items() if child.poll() is not None]:
        del _children[job]
    if not house.memo.get(("jobs.queue",), ("job",), lambda: house.read(_has_jobs)):
        return
    rows = house.read(
        lambda s: s.dicts(
            "SELECT *, epoch_us(started) AS began FROM job WHERE status IN ('queued', 'running') ORDER BY created"
        )
    )
    for row in rows:
        if row["status"] == "running":
            _look_after(house, row)
    for row in _next(house, rows):
        _start(house, row)


def _next(house: House, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    free = {"work": WORK_LANES, "train": int(house.config.get("jobs.parallel"))}
    for row in rows:
        if row["status"] == "running":
            free[_spec(row).lane] -= 1
    chosen = []
    for row in rows:
        lane = _spec(row).lane
        if row["status"] == "queued" and free[lane] > 0:
            free[lane] -= 1
            chosen.append(row)
    return chosen


def _start(house: House, row: dict[str, Any]) -> None:
    """Write the intent, then start the runner: a crash in between leaves a job without a process, found later."""
    house.store.write(
        lambda s: s.execute(
            """
            UPDATE job SET status = 'running', attempt = attempt + 1, started = make_timestamp(?), pid = NULL,
              error = NULL, result = NULL
            WHERE id = ?
            """,
            [now_us(), row["id"]],
        )
    )
    runner = launch(
        [sys.executable, "-m", "mlops_tui.jobs.runner"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    assert runner.stdin
    with runner.stdin as pipe:
        pipe.write(msgspec.json.encode(_ready(house, _spec(row))))
    _children[row["id"]] = runner
    house.touch("job", row["id"])


def _ready(house: House, spec: Spec) -> Spec:
    """Return what the runner is told; a program of a user's finds this store also by MLflow's variables."""
    if spec.lane != "train" or house.loopback is None:
        return spec
    try:
        house.loopback.open(0, asked=False)
    except MlopsError as error:
        log.warning("a job cannot log by MLflow: %s", error)
        return spec
    told = {TRACKING_URI: house.loopback.url, TRACKING_TOKEN: house.loopback.token}
    if experiment := spec.env.get("MLOPS_EXPERIMENT"):
        told["MLFLOW_EXPERIMENT_NAME"] = experiment
    return msgspec.structs.replace(spec, env={**told, **spec.env})


def _look_after(house: House, row: dict[str, Any]) -> None:
    if row["pid"] is None:
        _missed.pop(row["id"], None)  # that was the attempt before
        if now_us() - row["began"] > UNBORN_S * SECOND and row["id"] not in _children:
            _give_up(house, row, "its supervisor never came up")
        return
    process = ProcessId(host=row["host"], boot=row["boot"], pid=row["pid"], created=row["proc_created"])
    if is_alive(process) is not False:
        _missed.pop(row["id"], None)
        if row["stopping"] is not None:
            _signal(row["pid"])
        return
    # Its last words may still be on the way from the spool.
    since = _missed.setdefault(row["id"], time.monotonic())
    if time.monotonic() - since > SETTLE_S and not house.ingestor.owes(row["id"]):
        _missed.pop(row["id"], None)
        _give_up(house, row, "its supervisor died")


def _give_up(house: House, row: dict[str, Any], why: str) -> None:
    caller = Caller.system("job lost", row["tenant"])
    act(house, caller, lambda ctx: end(ctx, row["id"], "lost", None, why, row["attempt"]))
    leftover.end_soon(house.home.jobs / row["id"], _spec(row).grace_s)


def end(ctx: Context, job: str, status: str, code: int | None, why: str, attempt: int | None = None) -> None:
    """End a job's attempt: for good, or back into the queue when it died and may be tried again.

    Who judges by what was read a moment ago names the ``attempt`` that it means; another one may have begun meanwhile.
    """
    row = ctx.session.dict("SELECT * FROM job WHERE id = ? AND status = 'running'", [job])
    if row is None or attempt not in (None, row["attempt"]):
        return
    ctx.wake("agent.ingest")  # the last that its run said
    ctx.wake("jobs.queue")  # its place is free for the next, or for itself
    ctx.wake("tracking.lost")  # its run may not have said that it is over
    ctx.wake("tracking.plain")  # or there is none
    died = status == "lost" or (code is not None and code < 0) or (status == "failed" and row["error"] is None)
    if died and row["stopping"] is None and row["attempt"] <= row["retries"]:
        ctx.session.execute("UPDATE job SET status = 'queued', pid = NULL WHERE id = ?", [job])
        ctx.emit("job", job, "requeued", f"{row['kind']} {row['name']} begins again: {why}", f"job:{job}")
        return
    if row["error"] is None and status != "done":
        error = {
            "code": "MLOPS-E0001",
            "exit_code": 1,
            "what": f"{row['kind']} {row['name']} is {status}",
            "why": why,
            "fix": f"mlops job log {job[-8:]}",
        }
        ctx.session.execute("UPDATE job SET error = ? WHERE id = ?", [msgspec.json.encode(error).decode(), job])
    ctx.session.execute(
        "UPDATE job SET status = ?, exit_code = ?, ended = make_timestamp(?) WHERE id = ?", [status, code, ctx.now, job]
    )
    ctx.emit("job", job, status, f"{row['kind']} {row['name']} {status}" + (f": {why}" if why else ""), f"job:{job}")


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _spec(row: dict[str, Any]) -> Spec:
    return msgspec.json.decode(row["spec"], type=Spec)
