"""Calls by chance: a seed makes the same ones for every server, whose ids they take from its own answers.

What MLflow answers with an error of its own (500), or with what a database says, is not asked. More than the suite
has time for: ``MLOPS_CHANCE="SEED CALLS" python tests/contract/test_mlflow_answers.py by_chance``.
"""

from __future__ import annotations

import os
from random import Random

KEYS = ("a", "b", "c d", "e/f", "g.h", "x:y", "K")
WRONG = ("", "a!", "../x", "a//b", "k" * 251, "/a", ".")
VALUES = ("1", "2", "x", "X", "", "v w", "0.5", "é")
NUMBERS = (0, 1, -1, 2.5, 0.1, "NaN")
STAGES = ("Staging", "Production", "None", "Archived", "staging", "nowhere")
ALIASES = ("al", "be", "la-st", "v1", "b d", "")


class Calls:
    """One server that is asked, and what was made on it."""

    def __init__(self, wire, name: str, seed: int) -> None:
        self.wire, self.name, self.chance = wire, name, Random(seed)
        self.experiments, self.runs, self.models = [], [], []
        self.made = 0
        for _ in range(2):
            self.experiment()
        for _ in range(4):
            self.run()
        for last in "pq":
            wire.post("registered-models/create", name=f"{name}-{last}")
            wire.post("model-versions/create", name=f"{name}-{last}", source="s3://x/y")

    def one(self, made: list[str]) -> str:
        return self.chance.choice(made) if made and self.chance.random() < 0.93 else "f" * 32

    def key(self) -> str:
        return self.chance.choice(KEYS if self.chance.random() < 0.92 else WRONG)

    def value(self) -> str:
        return self.chance.choice(VALUES)

    def pairs(self, most: int = 3) -> list[dict[str, str]]:
        keys = self.chance.sample(KEYS, self.chance.randint(0, most))
        return [{"key": key, "value": self.value()} for key in keys]

    def point(self) -> dict:
        ts, step = self.chance.choice((0, 1, 1000)), self.chance.choice((0, 1, -1))
        return {"key": self.key(), "value": self.chance.choice(NUMBERS), "timestamp": ts, "step": step}

    def call(self) -> None:
        """Make one call."""
        kinds = [self.experiment, self.run, *[self.log] * 4, *[self.change] * 3, *[self.look] * 4, *[self.registry] * 4]
        self.chance.choice([*kinds, *[self.logged] * 2])()

    def experiment(self) -> None:
        self.made += 1
        answer = self.wire.post("experiments/create", name=f"{self.name}-{self.made}", tags=self.pairs())
        self.experiments += [answer["experiment_id"]] if "experiment_id" in answer else []

    def run(self) -> None:
        self.made += 1
        more = {"start_time": self.chance.choice((1, 2, 1000)), "run_name": f"r{self.made}", "tags": self.pairs()}
        answer = self.wire.post("runs/create", experiment_id=self.one(self.experiments[:2]), **more)
        self.runs += [answer["run"]["info"]["run_id"]] if "run" in answer else []

    def log(self) -> None:
        run, key = self.one(self.runs), self.key()
        used = {"name": self.chance.choice("ab"), "digest": self.chance.choice("12"), "source_type": "s", "source": "x"}
        batch = {"metrics": [self.point() for _ in range(self.chance.randint(0, 6))], "params": self.pairs(2)}
        route, body = self.chance.choice((
            ("log-metric", self.point()), ("log-parameter", {"key": key, "value": self.value()}),
            ("set-tag", {"key": key, "value": self.value()}), ("log-batch", {**batch, "tags": self.pairs(2)}),
            ("log-inputs", {"datasets": [{"dataset": used, "tags": self.pairs(2)}]}),
        ))  # fmt: skip
        self.wire.post(f"runs/{route}", run_id=run, **body)

    def change(self) -> None:
        run, experiment, key = self.one(self.runs), self.one(self.experiments[2:]), self.key()
        end = self.chance.choice(({"status": "FINISHED", "end_time": 2000}, {"run_name": f"n{self.made}"}))
        route, body = self.chance.choice((
            ("runs/delete-tag", {"run_id": run, "key": key}), ("runs/update", {"run_id": run, **end}),
            (self.chance.choice(("runs/delete", "runs/restore", "runs/restore")), {"run_id": run}),
            ("experiments/set-experiment-tag", {"experiment_id": experiment, "key": key, "value": self.value()}),
            ("experiments/delete-experiment-tag", {"experiment_id": experiment, "key": key}),
            (self.chance.choice(("experiments/delete", "experiments/restore")), {"experiment_id": experiment}),
        ))  # fmt: skip
        self.wire.post(route, **body)

    def look(self) -> None:
        what = self.chance.randrange(6)
        if what == 0:
            self.wire.get("runs/get", run_id=self.one(self.runs))
        elif what == 1:
            self.wire.get("metrics/get-history", run_id=self.one(self.runs), metric_key=self.chance.choice(KEYS))
        else:
            stage, order = self.chance.choice((1, 2, 3)), [*self.order(), "run_name"]
            wish = " AND ".join(self.condition() for _ in range(self.chance.randint(0, 3)))
            self.wire.post(
                "runs/search", experiment_ids=self.experiments[:2], filter=wish, order_by=order, run_view_type=stage
            )

    def order(self) -> list[str]:
        keys = [f"{scope}.`{self.chance.choice(KEYS)}`" for scope in ("metrics", "params", "tags")]
        asked = self.chance.sample([*keys, "start_time", "end_time", "status"], self.chance.randint(0, 2))
        return [key + self.chance.choice(("", " ASC", " DESC")) for key in asked]

    def condition(self) -> str:
        key, value, sign = self.chance.choice(KEYS), self.value(), self.chance.choice((">", "<", "=", "!=", ">=", "<="))
        like = self.chance.choice(("=", "!=", "LIKE", "ILIKE"))
        return self.chance.choice((
            f"metrics.`{key}` {sign} {self.chance.choice((0, 1, -1, 2.5))}", f"params.`{key}` {like} '{value}%'",
            f'tags."{key}" {like} \'{value}\'', f"tags.`{key}` IS NULL", f"params.`{key}` IS NOT NULL",
            f"status {self.chance.choice(('=', '!='))} 'RUNNING'", f"start_time {sign} 2", f"end_time {sign} 2000",
            f"run_name {like} 'r%'", f"dataset.name {like} 'a'", f"dataset.context {like} '{value}'",
        ))  # fmt: skip

    def registry(self) -> None:
        name, version = f"{self.name}-{self.chance.choice('pq')}", self.chance.choice("1239x")
        key, value, alias = self.key(), self.value(), self.chance.choice(ALIASES)
        stage = {"stage": self.chance.choice(STAGES), "archive_existing_versions": False}
        method, route, body = self.chance.choice((
            ("post", "registered-models/create", {"tags": self.pairs(2), "description": value}),
            ("post", "model-versions/create", {"source": f"s3://x/y{len(value)}", "tags": self.pairs(2)}),
            ("post", "model-versions/create", {"source": "s3://x/z"}), ("get", "registered-models/get", {}),
            ("get", "model-versions/get", {"version": version}), ("post", "registered-models/get-latest-versions", {}),
            ("post", "model-versions/transition-stage", {"version": version, **stage}),
            ("post", "registered-models/alias", {"alias": alias, "version": version}),
            ("delete", "registered-models/alias", {"alias": alias}),
            ("get", "registered-models/alias", {"alias": alias}),
            ("delete", "model-versions/delete", {"version": version}),
            ("post", "registered-models/set-tag", {"key": key, "value": value}),
            ("post", "model-versions/set-tag", {"version": version, "key": key, "value": value}),
            ("delete", "model-versions/delete-tag", {"version": version, "key": key}),
            ("patch", "model-versions/update", {"version": version, "description": value}),
        ))  # fmt: skip
        getattr(self.wire, method)(route, name=name, **body)

    def logged(self) -> None:
        self.made += 1
        if not self.models or self.chance.random() < 0.3:
            more = {"name": f"m{self.made}", "model_type": "T", "params": self.pairs(1), "tags": self.pairs(2)}
            answer = self.wire.post("logged-models", experiment_id=self.one(self.experiments[:2]), **more)
            self.models += [answer["model"]["info"]["model_id"]] if "model" in answer else []
            return
        model, value = self.chance.choice(self.models), self.chance.choice((0, 1, 2.5, -1))
        order = [{"field_name": "metrics.a", "ascending": False}, {"field_name": "name", "ascending": True}]
        what = self.chance.randrange(4)
        if what == 0:
            self.wire.get(f"logged-models/{model}")
        elif what == 1:
            self.wire.patch(f"logged-models/{model}/tags", model_id=model, tags=self.pairs(2))
        elif what == 2:
            point = {"key": "a", "value": value, "timestamp": 1000, "step": self.made}
            self.wire.post("runs/log-metric", run_id=self.one(self.runs), model_id=model, **point)
        else:
            wish = self.chance.choice(("", "metrics.a > 0", "params.`a` = '1'", "tags.`b` != 'x'"))
            self.wire.post("logged-models/search", experiment_ids=self.experiments[:2], filter=wish, order_by=order)


def what_comes_by_chance(wire, name: str) -> None:
    """Ask as many calls as there is time for."""
    seed, n = os.environ.get("MLOPS_CHANCE", "7 120").split()
    calls = Calls(wire, name, int(seed))
    for _ in range(int(n)):
        calls.call()


SCENARIOS = {"what_comes_by_chance": what_comes_by_chance}
