"""What one ``run.log`` costs, beside the floor: one ``os.write`` of a line that is ready.

Run by hand: ``python tests/benchmarks/sdk_call.py [calls]``. Targets: median ≤ 5 µs for one metric and ≤ 10 µs for
twenty, p99.9 ≤ 1 ms over 200,000 calls. The floor and the call take turns, so that a busy machine hits both alike.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter_ns

BLOCK = 1_000


def measure(size: int, calls: int) -> dict[str, list[int]]:
    """Return sorted nanoseconds of each call: of ``run.log`` with ``size`` metrics, and of the bare write."""
    import mlops_tui as mlops

    run = mlops.start_run("benchmark")
    metrics = {f"train/metric_{number}": 0.37 * (number + 1) for number in range(size)}
    run.log(metrics, step=0)
    path = run._writer.path
    assert path is not None
    line = path.read_bytes().splitlines(keepends=True)[-1]
    bare = os.open(path.with_name("bare"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    times: dict[str, list[int]] = {"log": [], "floor": []}
    for block in range(0, calls, BLOCK):
        for step in range(block, min(block + BLOCK, calls)):
            metrics["train/metric_0"] = 1.0 / (step + 1)
            begun = perf_counter_ns()
            run.log(metrics, step=step)
            times["log"].append(perf_counter_ns() - begun)
        for _ in range(block, min(block + BLOCK, calls)):
            begun = perf_counter_ns()
            os.write(bare, line)
            times["floor"].append(perf_counter_ns() - begun)
    os.close(bare)
    run.end()
    return {name: sorted(values) for name, values in times.items()}


def main(calls: int = 200_000) -> None:
    """Print the figures as a table; a file system on disk is used, not a memory one."""
    os.environ["MLOPS_QUIET"] = "1"
    print(f"{'metrics':>7} {'quantile':>9} {'run.log µs':>11} {'floor µs':>9} {'ratio':>6}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("MLOPS_BENCH_DIR", "/var/tmp")) as folder:
        os.environ["MLOPS_HOME"] = str(Path(folder) / "home")
        for size in (1, 20):
            times = measure(size, calls)
            for name, part in (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
                log, floor = (times[kind][int(part * (calls - 1))] / 1000 for kind in ("log", "floor"))
                print(f"{size:>7} {name:>9} {log:>11.2f} {floor:>9.2f} {log / floor:>6.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
