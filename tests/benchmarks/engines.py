"""Memory and throughput of a torch model behind several workers, by the number of engines that they share.

``python tests/benchmarks/engines.py [--mb 100] [--workers 4] [--engines 1,2,4] [--seconds 5]``. A real supervisor with
its workers and engines; eight clients on kept-alive connections ask one row at a time. Memory is the proportional set
size of all its processes, so what is shared is counted once. As many engines as workers is how it was before engines
were shared.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.serving_swap import Client
from tests.integration.serving.conftest import Server

CLIENTS = 8


def script(folder: Path, mb: int) -> Path:
    """Write a TorchScript module of so many megabytes that multiplies a row by its matrix."""
    import torch

    class Product(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow = torch.nn.Linear(4, 500)
            self.wide = torch.nn.Linear(500, mb * 500)

        def forward(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            score = self.wide(self.narrow(X)).mean(1, keepdim=True)
            return (score[:, 0] > 0).to(torch.int64), score

    said = {
        "inputs": [{"name": "X", "dtype": "float32", "shape": [-1, 4]}],
        "outputs": [{"name": "label"}, {"name": "score"}],
    }
    path = folder / "product.pt"
    torch.jit.save(torch.jit.script(Product()), path, _extra_files={"signature.json": json.dumps(said)})
    return path


def memory_mb(server: Server) -> float:
    """Return the proportional set size of the server's processes."""
    ours, found = f"MLOPS_HOME={server.home}\0".encode(), 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and int(entry.name) != os.getpid() and ours in (entry / "environ").read_bytes():
                lines = (entry / "smaps_rollup").read_text().splitlines()
                found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found / 1024


def measure(model: Path, engines: int, wishes: argparse.Namespace) -> dict[str, Any]:
    """Serve a model, ask it for a while, and return what that took."""
    with tempfile.TemporaryDirectory() as place:
        server = Server(Path(place), workers=wishes.workers, engines=engines)
        place_of = {"file": str(model), "engine": "torch"}
        server.routes(1, {"id": "r", "no": 1, "label": "v1", "weight": 100.0, "role": "stable", "model": place_of})
        try:
            server.start(wait=False)
            server.until(lambda state: state["workers"] and all(one["ready"] for one in state["workers"]), within=180)
            clients = [Client(server.port, 0.0) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            time.sleep(wishes.seconds)
            for client in clients:
                client.done.set()
                client.join()
            found = memory_mb(server)
        finally:
            server.close()
    failed = [why for client in clients for why in client.failed]
    if failed:
        raise SystemExit(f"{len(failed)} requests failed: {failed[0]}")
    took = sorted(seconds for client in clients for _, seconds, _ in client.answers)
    return {
        "engines": engines, "MB": round(found), "requests/s": round(len(took) / wishes.seconds),
        "p50 ms": round(took[len(took) // 2] * 1000, 1), "p99 ms": round(took[len(took) * 99 // 100] * 1000, 1),
    }  # fmt: skip


def main() -> None:
    """Print a line for each number of engines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--engines", default="1,2,4")
    parser.add_argument("--seconds", type=float, default=5.0)
    wishes = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        model = script(Path(place), wishes.mb)
        for engines in map(int, wishes.engines.split(",")):
            print(json.dumps({"workers": wishes.workers, **measure(model, engines, wishes)}), flush=True)


if __name__ == "__main__":
    main()
