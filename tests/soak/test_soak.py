"""kill -9 of agent, trainer and model server while the demo runs: nothing acknowledged is lost, nothing counts twice.

``make soak`` makes twenty kills (``SOAK_SEED`` repeats its choices), the suite three.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter, defaultdict

import msgspec
import pytest

from mlops_tui.client import Client
from mlops_tui.core.config import load
from mlops_tui.keys import open_keys
from mlops_tui.plugins.loader import key_sources
from mlops_tui.store.store import Store

pytestmark = pytest.mark.train
SLACK_S = 0.25
"""A request that was under way a moment before a kill, or a moment after the successor was seen, is the kill's."""


class Soak:
    """One demo under fire, and what is known of it afterwards."""

    def __init__(self, harness, proof, home, folder, rows, killer, *arguments):
        self.home, self.folder, self.proof, self.killer = home, folder, proof, killer
        self.worker, self.agent = harness.WORKER, harness.AGENT
        folder.mkdir()
        self.keeper = harness.Keeper(home.spool, folder / "kept")
        self.prober = harness.Prober(home, rows)
        self.demo = harness.Demo(home, folder, "--keep", *arguments)
        for thread in (self.keeper, self.prober, self.killer):
            thread.start()

    def run(self, seconds: float) -> None:
        """See the demo through, ask the agent what it knows, and end everything gently, so that all is ingested."""
        from mlops_tui.demo.stage import end_processes

        self.code = self.demo.wait(seconds)
        self.killer.end()
        self.killer.settle()
        self.prober.end()
        self.tell()
        with Client(self.home) as client:
            self.audit = client.call("audit.verify")
            listed = client.call("job.list", {"limit": 100})
            self.jobs = [client.call("job.show", {"job": row[0]}) for row in listed.rows]
            client.call("agent.stop")
        deadline = time.monotonic() + 30
        while self.home.socket.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        end_processes(self.home.data)
        self.keeper.end()

    def tell(self) -> None:
        began = self.prober.probes[0].began if self.prober.probes else 0.0
        print(self.demo.story)
        for kill in self.killer.kills:
            back = f"back after {kill.back - kill.at:.2f} s" if kill.job == "" else f"of job {kill.job[-8:]}"
            print(f"  {kill.at - began:+7.2f} s  {kill.kind:<10} pid {kill.pid:<7} {back}")
        failed = Counter(probe.trouble for probe in self.prober.probes if probe.status != 200)
        print(f"  {len(self.prober.probes)} probes; failed: {dict(failed)}")

    def check(self) -> None:
        """Prove it."""
        summary = self.demo.summary
        assert self.code == 0 and summary["ok"], self.demo.story
        assert {step["outcome"] for step in summary["steps"]} == {"ok"}
        assert self.audit.ok, self.audit.text
        wrote, has = self.proof.written(self.folder / "kept"), self.look()
        assert not self.bad
        for what in ("points", "labels", "lines", "predictions"):
            one, other = getattr(wrote, what), getattr(has, what)
            assert one, f"no {what} were written: nothing is proven"
            assert not (words := self.proof.difference(one, other)), f"{what}: {words}"
        self.check_answers(wrote)
        self.check_serving()
        self.check_training(wrote)

    def look(self):
        """Open the store as its next owner would."""
        keys = open_keys(self.home, load(where=self.home), key_sources(), must_exist=True)
        store = Store(self.home.store, keys.store_key)
        try:
            with store.read(60) as session:
                self.bad = session.rows("SELECT * FROM quarantine")
                self.specs = {key: msgspec.json.decode(spec) for key, spec in session.rows("SELECT id, spec FROM job")}
                self.runs = dict(session.rows("SELECT id, status FROM run"))
                return self.proof.stored(session)
        finally:
            store.close()

    def check_answers(self, wrote) -> None:
        """Every answered row is logged; twice only where another server process answered its request again."""
        rows, times = defaultdict(set), Counter()
        for (_, request, row), pids in wrote.writers.items():
            assert len(pids) == len(set(pids)), f"row {row} of {request} was logged twice by one server"
            rows[request].add(row)
            times[request] = max(times[request], len(pids))
        for probe in self.prober.probes:
            assert times[probe.id] == 1 if probe.status == 200 else times[probe.id] <= 1, (probe, times[probe.id])
        assert all(seen == set(range(len(seen))) for seen in rows.values())
        for job in self.jobs:
            if job.kind == "deploy.replay" and job.status == "done":
                prefix = self.specs[job.id]["request"]["prefix"]
                mine = [request for request in rows if request.startswith(prefix)]
                acknowledged = job.result["requests"] - job.result["failed"]
                assert acknowledged <= len(mine) <= job.result["requests"], job
                assert max(times[request] for request in mine) <= 2, "a replay asks twice at most"

    def check_serving(self) -> None:
        """No request fails but around the death of the worker that had it; the agent's death is not noticed."""
        windows = [(kill.at - SLACK_S, kill.back + SLACK_S) for kill in self.killer.kills if kill.kind == self.worker]
        for probe in self.prober.probes:
            if probe.status != 200:
                assert any(probe.began <= end and probe.ended >= begin for begin, end in windows), probe
        begin, end = self.prober.probes[0].began, self.prober.probes[-1].ended
        for kill in self.killer.kills:
            alone = all(kill.at > end or kill.back < begin for begin, end in windows)
            if kill.kind == self.agent and begin < kill.at and kill.back < end and alone:
                assert any(kill.at < probe.began and probe.ended < kill.back for probe in self.prober.probes), kill

    def check_training(self, wrote) -> None:
        """Every training ended well, step by step, whoever was killed; a killed one went on from its checkpoint."""
        for job in self.jobs:
            if job.kind != "train":
                continue
            kills = sum(kill.job == job.id for kill in self.killer.kills)
            assert job.status == "done" and self.runs[job.run] == "done" and job.attempt <= 1 + kills, job
            steps = Counter(step for run, name, step, *_ in wrote.points if (run, name) == (job.run, "loss"))
            assert set(steps) == set(range(len(steps)))
            assert max(steps.values()) <= job.attempt


def test_three_kills_in_the_first_half_of_the_demo(harness, proof, home, tmp_path, probe_rows):
    seed = int(os.environ.get("SOAK_SEED", "3"))
    print(f"SOAK_SEED={seed}")
    rng = random.Random(seed)
    plan = [harness.TRAINER, rng.choice([harness.WORKER, harness.SUPERVISOR]), harness.AGENT]
    killer = harness.Killer(home, rng, plan, (0.5, 3.0), in_order=True)
    soak = Soak(harness, proof, home, tmp_path / "soak", probe_rows, killer, "--until", "traffic")
    soak.run(170)
    soak.check()
    assert len(killer.kills) == 3


@pytest.mark.soak
def test_twenty_kills_over_the_whole_demo(harness, proof, home, tmp_path, probe_rows):
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SOAK_SEED={seed}")
    rng = random.Random(seed)
    plan = [harness.AGENT] * 8 + [harness.TRAINER] * 4 + [harness.WORKER] * 5 + [harness.SUPERVISOR] * 3
    for number in range(3):  # a quick machine may be through before all twenty: then the rest meets another demo
        shutil.rmtree(home.data, ignore_errors=True)  # of the last one nothing may be taken for this one's
        killer = harness.Killer(home, rng, plan, (0.5, 5.0), in_order=False)
        soak = Soak(harness, proof, home, tmp_path / f"soak-{number}", probe_rows, killer)
        soak.run(420)
        soak.check()
        if not plan:
            return
    pytest.fail(f"three demos were over before {plan} could be killed")
