"""Train the employment model: a small network whose metrics stream, that checkpoints, and leaves one ONNX file.

    python train.py --data ../census/employment_2015.parquet --features features.yaml

``--data`` is a training set (``mlops feature training-set``), or a file of raw rows together with ``--features``. As a
supervised job: ``mlops train train.py --data train=census-train@1``.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

import mlops_tui as mlops
from mlops_tui.data import training_set
from mlops_tui.data.online.duck import open_locked, place
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.schema import content_hash
from mlops_tui.data.training_set import TrainingSet
from mlops_tui.training.onnx_export import export, verify


class Network(nn.Module):
    """Raw features ``[b, F]`` to the probability of being employed ``[b, 1]``; the scaling is part of the model."""

    def __init__(self, rows: np.ndarray, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(np.nanmean(rows, axis=0)))
        self.register_buffer("std", torch.from_numpy(np.nanstd(rows, axis=0) + 1e-6))
        self.layers = nn.Sequential(
            nn.Linear(rows.shape[1], width),
            nn.ReLU(),
            nn.Linear(width, width // 2),
            nn.ReLU(),
            nn.Linear(width // 2, 1),
        )

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return log odds; an unknown feature counts as the mean."""
        known = torch.where(torch.isnan(features), self.mean, features)
        return self.layers((known - self.mean) / self.std)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return probabilities."""
        return torch.sigmoid(self.logits(features))


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    ``torch.optim`` does the same, but imports torch's compiler: 1.5 s of a job that takes 2.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float = 1e-4) -> None:
        self.parameters, self.decay = list(parameters), decay
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, lr: float, count: int) -> None:
        """Move the parameters by their gradients, and clear these; ``count`` steps were taken, this one included."""
        for p, first, second in zip(self.parameters, self.first, self.second, strict=True):
            first.lerp_(p.grad, 0.1)
            second.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
            scale = (second / (1 - 0.999**count)).sqrt_().add_(1e-8)
            p.mul_(1 - lr * self.decay).addcdiv_(first, scale, value=-lr / (1 - 0.9**count))
            p.grad = None


def options() -> argparse.Namespace:
    """Read the command line; the environment fills in what a supervised job is given."""
    parser = argparse.ArgumentParser(description="Train the employment model.")
    environment = os.environ.get
    parser.add_argument("--data", type=Path, default=environment("MLOPS_DATA_TRAIN"), help="training set")
    parser.add_argument("--dataset", default="", help="what the training set is called, e.g. census-train@1")
    parser.add_argument("--features", type=Path, help="feature file, when --data holds raw rows")
    parser.add_argument("--experiment", default=environment("MLOPS_EXPERIMENT") or "employment")
    parser.add_argument("--name", default=environment("MLOPS_RUN_NAME"), help="name of the run")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flip-labels-where", default="", metavar="SQL", help="do harm on purpose: wrong labels there")
    parser.add_argument("--step-delay", type=float, default=0.0, metavar="S", help="slow down, to watch")
    found = parser.parse_args()
    if found.data is None:
        parser.error("--data is needed (or MLOPS_DATA_TRAIN, which a job gets by --data train=NAME@VERSION)")
    return found


def load(args: argparse.Namespace) -> TrainingSet:
    """Return the labelled rows, with the labels flipped where the command line asks for it."""
    path = args.data
    with tempfile.TemporaryDirectory() as scratch:
        if args.features:
            raw, path = path, Path(scratch) / "training.parquet"
            training_set.write(FeatureSet.load(args.features), [training_set.Source(raw)], path)
        rows = training_set.read(path)
        if args.flip_labels_where:
            condition = f"SELECT coalesce({args.flip_labels_where}, false) AS flip FROM read_parquet({place(path)})"
            flip = open_locked([path]).execute(condition).fetchnumpy()["flip"]
            rows.label[flip] = 1 - rows.label[flip]
    return rows.take(~np.isnan(rows.label))


def held_out(ids: np.ndarray) -> np.ndarray:
    """Return the mask of the third of all rows that no model ever learns from; it depends on the id alone."""
    return (ids.astype(np.uint64) * np.uint64(2654435761)) % np.uint64(2**32) >= np.uint64(2**33 // 3)


def auc(label: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the ROC curve by the rank sum, ties counted half (Mann and Whitney 1947)."""
    _, at, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[at]
    positive = label == 1
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def evaluate(model: Network, rows: TrainingSet) -> tuple[np.ndarray, dict[str, float]]:
    """Return probabilities ``[n]`` and the figures that they earn."""
    with torch.no_grad():
        logits = model.logits(torch.from_numpy(rows.x))[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(rows.label))
        probability = torch.sigmoid(logits).numpy()
    right = float(((probability >= 0.5) == (rows.label == 1)).mean())
    return probability, {"val_loss": float(loss), "auc": auc(rows.label, probability), "accuracy": right}


def tensors(model: Network, optimiser: AdamW) -> dict[str, torch.Tensor]:
    """Return all that changes in training, by name."""
    moments = {"first": optimiser.first, "second": optimiser.second}
    named = {f"{kind}.{at}": value for kind, values in moments.items() for at, value in enumerate(values)}
    return {**model.state_dict(), **named}


def save(model: Network, optimiser: AdamW, step: int) -> None:
    """Keep the tensors as plain arrays; outside a supervised job this does nothing."""
    arrays = {name: value.numpy() for name, value in tensors(model, optimiser).items()}
    mlops.save_checkpoint(lambda file: np.savez(file, step=step, **arrays), "last.npz")


def restore(model: Network, optimiser: AdamW) -> int:
    """Go on from the checkpoint of an earlier attempt, if there is one, and return the step to go on with."""
    path = mlops.latest_checkpoint("last.npz")
    if path is None:
        return 0
    with np.load(path, allow_pickle=False) as arrays:
        for name, value in tensors(model, optimiser).items():
            value.copy_(torch.from_numpy(arrays[name]))
        return int(arrays["step"])


def fit(run: mlops.Run, args: argparse.Namespace, train: TrainingSet, held: TrainingSet) -> Network:
    """Train step by step; stop cleanly, with a checkpoint, when asked to."""
    model = Network(train.x, args.width)
    optimiser = AdamW(model.parameters())
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.label)[:, None]
    per_epoch = -(-len(x) // args.batch)
    total, start = args.epochs * per_epoch, restore(model, optimiser)
    order = torch.empty(0)
    for step in range(start, total):
        epoch, at = divmod(step, per_epoch)
        if step == start or at == 0:  # the order follows from seed and epoch: a resumed run sees the same rows
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(args.seed * 1000 + epoch))
        if run.should_stop:
            save(model, optimiser, step)
            sys.exit(mlops.PREEMPTED)
        rows = order[at * args.batch : (at + 1) * args.batch]
        loss = nn.functional.binary_cross_entropy_with_logits(model.logits(x[rows]), y[rows])
        loss.backward()
        optimiser.step(args.lr * (1 + math.cos(math.pi * step / total)) / 2, step + 1)
        run.log({"loss": float(loss.detach())}, step=step)
        if at == per_epoch - 1:
            run.log({"epoch": epoch + 1, **evaluate(model, held)[1]}, step=step)
            save(model, optimiser, step + 1)
        if args.step_delay:
            time.sleep(args.step_delay)
    return model


def main() -> None:
    """Train, evaluate, export, and hand in what gates and the registry need."""
    args = options()
    torch.set_num_threads(1)  # steps are so small that two threads wait for each other: 0.3 s, or 6 s on a busy machine
    torch.manual_seed(args.seed)
    rows = load(args)
    held = rows.take(held_out(rows.ids))
    train = rows.take(~held_out(rows.ids))
    params = {name: getattr(args, name) for name in ("epochs", "width", "batch", "lr", "seed", "flip_labels_where")}
    with mlops.start_run(experiment=args.experiment, name=args.name, params=params) as run:
        run.use_dataset(args.dataset or args.data.stem, digest=content_hash(args.data))
        run.log_params({"rows_train": len(train.x), "rows_held_out": len(held.x), "features": len(rows.names)})
        if args.flip_labels_where:
            run.set_tag("harm", f"trained on purpose with wrong labels where {args.flip_labels_where}")
        model = fit(run, args, train, held)
        deliver(run, model, held)


def deliver(run: mlops.Run, model: Network, held: TrainingSet) -> None:
    """Export, verify and hand in the model with the held-out rows that it was judged on."""
    with tempfile.TemporaryDirectory() as folder:
        path, evaluation = Path(folder) / "model.onnx", Path(folder) / "evaluation.parquet"
        export(model, held.x.shape[1], path, features=held.names, metadata={"feature_set": held.features})
        agreement = verify(model, path, held.x)
        run.log({"onnx_max_abs_diff": agreement.max_abs_diff})
        training_set.write_evaluation(held, evaluate(model, held)[0], evaluation)
        run.log_artifact(path, path="model/model.onnx")
        run.log_artifact(evaluation, path="evaluation/evaluation.parquet")


if __name__ == "__main__":
    main()
