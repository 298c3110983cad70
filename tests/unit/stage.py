"""A stage for tests of served models: models and deployments in the store, traffic and labels through the absorbers.

No server runs here: ``Stage.servers`` plays what the reconciler would see of them.
"""

from __future__ import annotations

import msgspec
import numpy as np

from mlops_tui.contracts.operation import find
from mlops_tui.core.clock import now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy import traffic
from mlops_tui.deploy.rollout import clocks, engine, evidence, inference, rollouts
from mlops_tui.door.context import Caller, Context
from mlops_tui.door.perform import Wish, perform
from mlops_tui.monitoring import incidents
from mlops_tui.serving.record.segments import Batch, Header
from mlops_tui.spool.records import Label


def forgotten():
    """Have what lives as long as a process forget the house before."""
    clocks.clear()
    incidents._seen = ()
    evidence.NEWS.set()
    rollouts.MOVING.set()


class Stage:
    """What a test does with a house that serves."""

    def __init__(self, house, seed=0):
        forgotten()
        self.house, self.rng = house, np.random.default_rng(seed)
        self.sent = 0
        alice = {"name": "alice", "tenant": "default", "role": "admin", "uid": 1000, "actor": "test"}
        house.store.write(lambda s: s.insert("identity", created_us=now_us(), **alice))

    # Asking.

    def call(self, operation, /, **request):
        found = find(operation)
        body = msgspec.convert(request, found.request)
        return perform(self.house, operation, body, Caller("alice", 1000, request_id=uuid7()))

    def plan(self, operation, /, **request):
        body = msgspec.convert(request, find(operation).request)
        return perform(self.house, operation, body, Caller("alice", 1000, request_id=uuid7()), Wish(dry_run=True))

    def rows(self, sql, params=()):
        return self.house.read(lambda s: s.rows(sql, params))

    def value(self, sql, params=()):
        return self.house.read(lambda s: s.value(sql, params))

    # Models and deployments.

    def model(self, name="census", versions=1, features=("age", "hours"), form="onnx", run=None, outputs=()):
        """Insert a model with so many versions."""
        known = msgspec.json.encode(list(features)).decode()
        signature = {"metadata": {"mlops.features": known}, "outputs": list(outputs)}

        def write(session):
            model = uuid7()
            session.insert("model", id=model, tenant="default", name=name, created_us=now_us(), actor="alice")
            for version in range(1, versions + 1):
                session.insert(
                    "model_version",
                    id=uuid7(),
                    model_id=model,
                    version=version,
                    run_id=run,
                    digest=f"{version:064x}",
                    size=1,
                    format=form,
                    description="",
                    signature=msgspec.json.encode(signature).decode(),
                    created_us=now_us(),
                    actor="alice",
                )

        self.house.store.write(write)

    def serve(self, name="census", model="census@1", environment="local"):
        """Create a deployment whose servers are up, and return its id."""
        made = self.call("deploy.create", name=name, model=model, environment=environment)
        self.servers(made.id)
        return made.id

    def servers(self, deployment, status="serving"):
        """Play the reconciler: the servers show the split in force."""

        def write(session):
            now = traffic.current(session, deployment)
            session.execute(
                "UPDATE deployment SET acknowledged = ?, status = ?, text = ? WHERE id = ?",
                [now.generation, status, status, deployment],
            )
            if traffic.since(session, deployment, now.generation) is None:
                session.insert("traffic_ack", deployment_id=deployment, generation=now.generation, ts_us=now_us())

        self.house.store.write(write)

    def split(self, deployment):
        """Return the split in force as {revision: (role, weight)}."""
        now = self.house.read(lambda s: traffic.current(s, deployment))
        return {share.no: (share.role, share.weight) for share in now.split.shares}

    # Traffic.

    def answer(
        self, deployment, no, scores, *, status=0, shadow=False, chosen=False, ids=None, features=None, at=None, rows=1,
        clients=None,
    ):  # fmt: skip
        """Have a revision answer one request a score (or requests of so many rows) and return the request ids."""
        scores = np.asarray(scores, np.float32)
        requests = -(-len(scores) // rows)
        ids = ids or [f"q{self.sent + i}" for i in range(requests)]
        self.sent += requests
        record = np.repeat(np.arange(requests), rows)[: len(scores)]
        width = 2 if features is None else features.shape[1]
        batch = Batch(
            Header(deployment, tuple(f"f{i}" for i in range(width)), ("probability",)),
            ts_us=np.full(requests, at or now_us()) + np.arange(requests),
            revision_no=np.full(requests, no, np.uint16),
            status=np.full(requests, status, np.uint8),
            flags=np.full(requests, shadow + 2 * chosen, np.uint8),
            latency_us=self.rng.integers(200, 2000, requests).astype(np.uint32),
            n_rows=np.full(requests, rows, np.uint32),
            request_id=ids,
            record=record,
            row=np.concatenate([np.arange(n) for n in np.bincount(record, minlength=requests)])
            if len(scores)
            else np.empty(0, np.int64),
            features=np.zeros((len(scores), 2), np.float32) if features is None else features.astype(np.float32),
            outputs=scores[:, None],
            next_offset=0,
            torn=0,
            corrupt=[],
            client=np.zeros(requests, np.int64) if clients is None else np.asarray(clients, np.int64),
        )
        self._take(lambda ctx: inference.predictions(ctx, deployment, batch))
        return ids

    def fail(self, deployment, no, count, clients=None):
        """Have a revision fail on so many requests before they had rows."""
        none = np.empty(0, np.int64)
        batch = Batch(
            Header(deployment, ("f0", "f1"), ("probability",)),
            ts_us=np.full(count, now_us()) + np.arange(count),
            revision_no=np.full(count, no, np.uint16),
            status=np.full(count, 2, np.uint8),
            flags=np.zeros(count, np.uint8),
            latency_us=np.full(count, 500, np.uint32),
            n_rows=np.zeros(count, np.uint32),
            request_id=[f"q{self.sent + i}" for i in range(count)],
            record=none,
            row=none,
            features=np.empty((0, 2), np.float32),
            outputs=np.empty((0, 1), np.float32),
            next_offset=0,
            torn=0,
            corrupt=[],
            client=np.zeros(count, np.int64) if clients is None else np.asarray(clients, np.int64),
        )
        self.sent += count
        self._take(lambda ctx: inference.predictions(ctx, deployment, batch))

    def label(self, deployment, ids, truths, row=0, at=None):
        """Have the truths of requests arrive."""
        records = [Label(t=at or now_us(), id=one, row=row, y=float(y)) for one, y in zip(ids, truths, strict=True)]
        self._take(lambda ctx: inference.labels(ctx, deployment, records))

    def judged(self, deployment, no, n, wrong, *, shadow=False):
        """Have a revision answer n requests of which so many turn out to be wrong, all labelled at once."""
        truth = self.rng.integers(0, 2, n)
        right = np.ones(n, bool)
        right[self.rng.permutation(n)[:wrong]] = False
        score = np.where(right == (truth == 1), 0.9, 0.1)
        ids = self.answer(deployment, no, score, shadow=shadow)
        self.label(deployment, ids, truth)

    def _take(self, work):
        def write(session):
            ctx = Context(self.house, Caller.system("ingest"), session)
            work(ctx)
            return ctx

        for step in self.house.store.write(write).after:
            step()

    def evidence(self):
        """Let what has arrived be joined."""
        evidence.turn(self.house)

    # Rollouts.

    def turn(self):
        """One turn of the rollout engine, after the evidence."""
        self.evidence()
        engine.turn(self.house)

    def state(self, deployment="census"):
        return self.call("rollout.status", rollout=deployment).state
