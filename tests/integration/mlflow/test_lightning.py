"""A Lightning script that knows only MLflow, started with nothing but the address of the agent."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.train,
    # Looked for and not imported: whoever only collects tests would wait for it, and keep it in memory.
    pytest.mark.skipif(
        not (find_spec("mlflow") and find_spec("pytorch_lightning")), reason="mlflow or Lightning is not installed"
    ),
]

SCRIPT = """
import mlflow, torch
import pytorch_lightning as pl
from torch.utils.data import DataLoader, TensorDataset

class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(4, 1)

    def training_step(self, batch, number):
        x, y = batch
        loss = ((self.line(x) - y) ** 2).mean()
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)

torch.manual_seed(0)
x = torch.randn(64, 4)
mlflow.pytorch.autolog(log_models=True)
mlflow.set_experiment("lightning")
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
trainer = pl.Trainer(max_epochs=4, accelerator="cpu", **quiet)
trainer.fit(Line(), DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16))
"""


def test_a_lightning_script_lands_whole(agent, tmp_path):
    client = agent.client()
    (tmp_path / "train.py").write_text(SCRIPT)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_"))}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "train.py")],
        env={**known, "MLFLOW_TRACKING_URI": client.call("agent.url").url, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = client.call("run.list", {"filter": "experiment:lightning"})
    assert rows.total == 1
    names = [column.name for column in rows.columns]
    shown = client.call("run.show", {"run": rows.rows[0][names.index("id")]})
    assert shown.status == "done" and Path(shown.command).name == "train.py"
    assert (shown.params["optimizer_name"], shown.params["lr"], shown.params["epochs"]) == ("SGD", "0.05", "4")
    loss = client.call("run.curve", {"run": shown.id, "keys": ["train_loss"]}).curves[0]
    assert loss.n == 4 and loss.mean[-1] < loss.mean[0]
    assert "model_summary.txt" in {one.path for one in shown.artifacts}
    models = client.call("sql.query", {"query": "SELECT name, status FROM logged_model"}).rows
    assert len(models) == 1, "autologging logs the trained model"
