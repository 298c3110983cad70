"""The tuner on two real models: the sample project's small network, and a network of a million weights.

``tuner.py [--seconds 0.25] [--profile latency]``, on a machine that has nothing else to do. Both are trained, logged,
registered and tuned by the command line in a home of its own; the tables are what ``--json`` gives.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WIDE = """
import json
import duckdb, numpy as np, onnx, torch
import mlops_tui

torch.manual_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(6000, 64)).astype(np.float32)
y = (np.tanh(x @ rng.normal(size=(64, 16))).sum(1) > 0).astype(np.float32)
names = [f"f{i}" for i in range(64)]
layers = [torch.nn.Linear(64, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 1024), torch.nn.ReLU()]
net = torch.nn.Sequential(*layers, torch.nn.Linear(1024, 1), torch.nn.Sigmoid())
steps, given, truth = torch.optim.Adam(net.parameters(), 1e-3), torch.tensor(x[:4000]), torch.tensor(y[:4000])[:, None]
for _ in range(8):
    order = torch.randperm(4000)
    for at in range(0, 4000, 200):
        part = order[at : at + 200]
        steps.zero_grad()
        torch.nn.functional.binary_cross_entropy(net(given[part]), truth[part]).backward()
        steps.step()
shape = ({0: torch.export.Dim("rows")},)
torch.onnx.export(net.eval(), (torch.zeros(2, 64),), "wide.onnx", input_names=["x"], output_names=["score"],
                  dynamic_shapes=shape, external_data=False, dynamo=True)
made = onnx.load("wide.onnx")
onnx.helper.set_model_props(made, {"mlops.features": json.dumps(names)})
onnx.save(made, "wide.onnx")
table = {name: x[4000:, i] for i, name in enumerate(names)} | {"id": np.arange(2000), "label": y[4000:]}
con = duckdb.connect()
con.register("rows", con.from_arrow(__import__("pyarrow").table(table)))
con.execute("COPY rows TO 'wide.parquet' (FORMAT parquet)")
with mlops_tui.start_run(name="wide", experiment="tuning") as run:
    run.log_artifact("wide.onnx")
"""


class House:
    """A home of its own, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "MLOPS_HOME": str(folder / "home"), "MLOPS_QUIET": "1"}

    def python(self, *words: str, where: Path | None = None) -> None:
        subprocess.run(
            [sys.executable, *words], env=self.environment, cwd=where or self.folder, check=True, capture_output=True
        )

    def mlops(self, *words: str) -> Any:
        told = subprocess.run(
            [sys.executable, "-m", "mlops_tui", *words, "--json"], env=self.environment, cwd=self.folder, check=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        return json.loads(told.stdout)


def census(house: House) -> list[str]:
    project = ROOT / "sample_data" / "project"
    data = ROOT / "sample_data" / "census" / "employment_2015.parquet"
    words = ["train.py", "--data", str(data), "--features", "features.yaml", "--name", "census"]
    house.python(*words, where=project)
    house.mlops("model", "register", "census", "census", "--artifact", "model/model.onnx", "--no-require-gates")
    return ["census@1"]


def wide(house: House) -> list[str]:
    house.python("-c", WIDE)
    house.mlops("data", "add", "wide-rows", "wide.parquet")
    house.mlops("model", "register", "wide", "wide", "--artifact", "wide.onnx", "--no-require-gates")
    return ["wide@1", "--data", "wide-rows", "--label-column", "label"]


def show(name: str, found: dict[str, Any]) -> None:
    """Print a model's table."""
    result = found.get("result", found)
    print(f"\n### {name}, {result['profile']}: {result['text']}")
    print(f"{result['test']}; {'; '.join(f'{k}: {v}' for k, v in result['accuracy'].items())}\n")
    print("| candidate | p50 µs | ± | p99 µs | requests/s | ± | CPU µs | memory MB | loss | size kB | vs fp32 | |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for one in result["candidates"]:
        loss = "" if one["loss"] is None else f"{one['loss']:.2%}"
        print(
            f"| {one['candidate']} | {one['p50_ms'] * 1e3:.0f} | {one['p50_spread']:.0%} | {one['p99_ms'] * 1e3:.0f} "
            f"| {one['rate']:,.0f} | {one['rate_spread']:.0%} | {one['cpu_us']:.0f} | {one['mem_used'] / 1e6:.0f} "
            f"| {loss} | {one['size'] / 1e3:.0f} | {one['against_fp32']:.2f} "
            f"| {'**chosen**' if one['note'] == 'chosen' else one['note']}{' front' if one['pareto'] else ''} |"
        )
    for one in result["confirmations"]:
        print(
            f"\n{one['challenger']} against {one['stays']}: {one['gain']:+.1%}, t {one['t']:.1f}, wins: {one['wins']}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", default="0.25")
    parser.add_argument("--profile", default="latency")
    parser.add_argument("--only", default="")
    wishes = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        house = House(Path(folder))
        try:
            for name, make in (("census", census), ("wide", wide)):
                if wishes.only in ("", name):
                    words = make(house)
                    tuned = house.mlops(
                        "model", "tune", *words, "--profile", wishes.profile, "--seconds", wishes.seconds
                    )
                    show(name, tuned)
        finally:
            house.mlops("agent", "stop")


if __name__ == "__main__":
    main()
