"""Searching many runs: ``search.py [runs] [folder]``, in the store by one thread, and over MLflow's API.

The API is asked by raw HTTP, and by MLflow's own client in turns with a server that only sends the same bytes.

A folder keeps the home between calls, so that it is filled once.
Each run has 20 parameters and 20 metrics. Beside each median stands processor time, in which other work does not count.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from mlops_tui.agent.rooms import open_rooms
from mlops_tui.client import Client
from mlops_tui.contracts.listing import List, OpenView
from mlops_tui.core.config import load
from mlops_tui.core.paths import home, private_dir
from mlops_tui.keys import open_keys
from mlops_tui.store.listing import LISTINGS, Views
from mlops_tui.store.session import Session
from mlops_tui.store.store import Store
from tests.benchmarks.mlflow_wire import NULL, free_port, serve

EACH, BATCH, REPEAT = 20, 50_000, 9


def fill(session: Session, first: int, count: int) -> None:
    """Write runs with their parameters and metrics, in the order in which they would come.

    None is running: the agent would look after 25,000 processes that never were, all the while it is measured.
    """
    session.execute(
        f"""
        INSERT INTO run (id, experiment_id, tenant, name, kind, status, started, ended, host, boot, actor,
                         command, git_sha, git_branch, error, note, summary, metric, value)
        SELECT {_ID}, 'e' || i % 5, 'default', format('resnet-{{:06d}}', i), 'train',
               ['done', 'failed', 'done', 'killed'][1 + (hash(i) % 4)::BIGINT],
               TIMESTAMP '2026-01-01' + to_seconds(i // 2), TIMESTAMP '2026-01-01' + to_seconds(i // 2 + i % 3600),
               'box' || i % 7, '', 'amal', 'train.py', md5(i::VARCHAR), 'main', '', '', 'lr=0.01 depth=8', 'm0',
               hash(i) / 18446744073709551615.0
        FROM range({first}, {first + count}) t(i)"""
    )
    session.execute(
        f"""
        INSERT INTO param SELECT id, key, value, try_cast(value AS DOUBLE) FROM (
          SELECT {_ID} AS id, 'p' || k AS key,
                 CASE WHEN k % 2 = 0 THEN (hash(i * 31 + k) % 1000 / 1000.0)::VARCHAR
                      ELSE 'value-' || hash(i * 7 + k) % 10 END AS value
          FROM range({first}, {first + count}) t(i), range({EACH}) u(k) ORDER BY i, k)"""
    )
    session.execute(
        f"""
        INSERT INTO series (sid, scope, owner, key, n, last_step, last_ts, last, low, high, nonfinite)
        SELECT i * {EACH} + k, 'run', {_ID}, 'm' || k, 100, 100, TIMESTAMP '2026-01-01', v, v / 2, v * 2, 0 FROM (
          SELECT i, k, hash(i * 13 + k) / 18446744073709551615.0 AS v
          FROM range({first}, {first + count}) t(i), range({EACH}) u(k)) ORDER BY i, k"""
    )


_ID = """format('0193a000-{:04x}-7{:03x}-8{:03x}-{:012x}', i >> 12, i & 4095, (hash(i) & 4095)::BIGINT,
                (hash(i + 1) & 281474976710655)::BIGINT)"""


WIRE = [
    ("newest first", "", []),
    ("a metric", "metrics.m5 > 0.9", ["metrics.m5 DESC"]),
    (
        "several conditions",
        "attributes.status = 'FINISHED' AND metrics.m3 > 0.5 AND metrics.m4 < 0.5 AND params.p3 = 'value-3'",
        ["metrics.m7 DESC"],
    ),
    ("text", "params.p1 LIKE 'value-_' AND attributes.run_name ILIKE '%99%'", ["params.p2", "start_time"]),
]


def opened(runs: int) -> Store:
    """Return the store of the home with so many runs."""
    where = home()
    for folder in (where.data, where.spool, where.state, where.logs, where.jobs, where.deployments):
        private_dir(folder)
    store = Store(where.store, open_keys(where, load(where=where)).store_key)
    there = store.write(lambda session: session.value("SELECT count(*) FROM run"))
    if not there:
        for number in range(5):
            facts = {"id": f"e{number}", "tenant": "default", "name": f"x{number}", "number": number}
            store.write(lambda session, facts=facts: session.insert("experiment", created_us=1, **facts))
    for first in range(there, runs, BATCH):
        store.write(lambda session, first=first: fill(session, first, min(BATCH, runs - first)))
    store.checkpoint().result()
    return store


LISTS = [
    ("newest first", "", ""),
    ("one column", "status:done", "-started"),
    ("a metric", "m3>0.9", "-m3"),
    ("several conditions", "status:done m3>0.5 m4<0.5 p2<0.5 p3:value-3,value-4", "-m7"),
    ("either", "m3>0.99 or p3:value-3 p2<0.1", "p2"),
    ("a word", "resnet-0001", ""),
    ("a pattern", "name~9{2}$", "m1"),
    ("nothing", "m3>2", ""),
]


def timed(store: Store, call: Callable[..., object], *given: object) -> str:
    """Return wall time of the first call, then the medians of wall and processor time of more, ms."""
    wall, processor = [], []
    for _ in range(REPEAT + 1):
        began, used = time.perf_counter(), time.process_time()
        with store.read(600) as session:
            call(session, *given)
        wall.append(1000 * (time.perf_counter() - began))
        processor.append(1000 * (time.process_time() - used))
    return f"{wall[0]:9.1f} {statistics.median(wall[1:]):9.1f} {statistics.median(processor[1:]):9.1f}"


def varied(text: str, turn: int) -> str:
    """Return a filter that was never asked and finds the same: what is kept of an answer is of no use to it."""
    return f"{text}{' AND ' if text else ''}attributes.start_time > {turn}"


def both(asked: list[tuple[float, float, bytes]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return wall and processor times, without those of the first call."""
    wall, used, _ = zip(*asked[1:], strict=True)
    return wall, used


def on_the_wire(folder: Path) -> None:
    """Ask a real agent for pages of 100 whole runs over one kept connection, then through MLflow's client.

    A search is asked again while nothing changes (it is kept), as a filter that was never asked (the runs are kept
    that were shown before), and for the page after the last one (nothing is).
    """
    bodies: dict[str, bytes] = {}
    with Client(home()) as client:
        process = psutil.Process(client.call("agent.status").pid)
        url = client.call("agent.url").url
        wire = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

        def asked(body: Mapping[str, object]) -> tuple[float, float, bytes]:
            before, began = sum(process.cpu_times()[:2]), time.perf_counter()
            wire.request("POST", "/api/2.0/mlflow/runs/search", json.dumps(body), {"content-type": "application/json"})
            answer = wire.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            took = 1000 * (time.perf_counter() - began)
            return took, 1000 * (sum(process.cpu_times()[:2]) - before), content

        print(
            f"\n{'runs/search, 100':20}{'first':>9}{'again':>18}{'a new filter':>18}{'next pages':>18}   wall, CPU; ms"
        )
        for name, text, order in WIRE:
            body = {"experiment_ids": list("01234"), "filter": text, "order_by": order, "max_results": 100}
            first = asked(body)[0]
            again, new, pages = [], [], []
            time.sleep(2)  # hot columns are made meanwhile
            token = ""
            for turn in range(2 * REPEAT):
                again.append(asked(body))
                new.append(asked({**body, "filter": varied(text, turn)}))
                pages.append(asked({**body, "page_token": token} if token else body))
                token = json.loads(pages[-1][2]).get("next_page_token", "")
            bodies[name] = again[-1][2]
            figures = [
                (statistics.median(wall), statistics.mean(used)) for wall, used in map(both, (again, new, pages))
            ]
            shown = "".join(f"{wall:9.1f}{used:9.1f}" for wall, used in figures)
            print(f"{name:20}{first:9.1f}{shown}   {text}", flush=True)
        print(f"the agent takes {process.memory_info().rss / 1e6:,.0f} MB")
        through_client(url, bodies, folder)
        client.call("agent.stop")


def through_client(url: str, bodies: Mapping[str, bytes], folder: Path) -> None:
    """Ask through MLflow's client, in turns with a server that does nothing but send the same bytes."""
    import mlflow

    print(
        f"\n{f'MlflowClient {mlflow.__version__}':20}{'null':>9}{'again':>18}{'a new filter':>18}   medians, ms; ratio"
    )
    for name, text, order in WIRE:
        (body := folder / "page.json").write_bytes(bodies[name])
        runs = len(json.loads(bodies[name])["runs"])
        port = free_port()
        null = serve([sys.executable, "-c", NULL, str(port), str(body)], port, folder)
        ours, theirs = (mlflow.MlflowClient(one) for one in (url, f"http://127.0.0.1:{port}"))
        times: tuple[list[float], ...] = ([], [], [])
        for turn in range(2 * REPEAT):
            asked = [(theirs, text), (ours, text), (ours, varied(text, -1 - turn))]
            for (one, said), took in zip(asked, times, strict=True):
                began = time.perf_counter()
                found = one.search_runs(list("01234"), said, max_results=100, order_by=order)
                took.append(1000 * (time.perf_counter() - began))
                assert len(found) == runs
        os.killpg(null.pid, signal.SIGTERM)
        null.wait()
        least, again, new = (statistics.median(took[1:]) for took in times)
        print(f"{name:20}{least:9.1f}{again:9.1f}{again / least:9.2f}{new:9.1f}{new / least:9.2f}", flush=True)


def main(runs: int, folder: Path) -> None:
    """Print two tables."""
    os.environ.update(MLOPS_HOME=str(folder / "home"), XDG_RUNTIME_DIR=str(folder), MLOPS_QUIET="1")
    open_rooms()
    store, listing, views = opened(runs), LISTINGS["run"], Views()
    print(f"{runs:,} runs, {EACH} parameters, {EACH} metrics; ms: first, then medians of {REPEAT}: wall, processor")
    print(f"{'':20}{'page of 100':>30}{'view, opened':>30}")
    for name, text, sort in LISTS:
        page = timed(store, listing.select, "default", List(filter=text, sort=sort, limit=100))
        view = timed(store, views.open, "default", OpenView(noun="run", filter=text, sort=sort))
        print(f"{name:20} {page} {view}   {text} {sort}", flush=True)
    store.close()
    on_the_wire(folder)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as made:
        main(count, Path(sys.argv[2] if len(sys.argv) > 2 else made))
