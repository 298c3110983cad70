import os
import subprocess
import sys

import pytest

from mlops_tui.agent.ingest import Ingestor
from mlops_tui.contracts.operation import find
from mlops_tui.core.clock import now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import Wish, perform
from mlops_tui.spool.writer import Writer


class Desk:
    """What a test does with a house: write spool files, take them in, call operations."""

    def __init__(self, house):
        self.house, self.spool = house, house.home.spool
        self.ingestor = house.ingestor = Ingestor(house)

    def run(self, owner=None, **facts):
        """Begin a run with a spool file of its own."""
        return Writer(self.spool, owner or uuid7(), run={"experiment": "census", "name": "one", **facts})

    def script(self, text, **environment):
        """Start a training script that uses the SDK, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "import mlops_tui as mlops\n" + text],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def job(self, **values):
        """Put a job into the store, as start_job does."""
        row = {
            "id": uuid7(), "tenant": "default", "name": "job", "kind": "job.train", "status": "running", "spec": "{}",
            "attempt": 1, "retries": 0, "created_us": now_us(), "host": "", "boot": "", "actor": "amal", **values,
        }  # fmt: skip
        self.house.store.write(lambda session: session.insert("job", **row))
        return row["id"]

    def take(self):
        """Take in everything."""
        while self.ingestor.turn():
            continue

    def again(self):
        """Throw the ingestor away, as a killed agent does, and begin another."""
        self.house.series.forget()
        self.ingestor = self.house.ingestor = Ingestor(self.house)

    def call(self, name, wish=None, /, **request):
        """Go through the door as the owner of the home."""
        operation = find(name)
        return perform(self.house, name, operation.request(**request), Caller("tester", os.getuid()), wish)

    def plan(self, name, /, **request):
        """Ask for the plan of a change."""
        return self.call(name, Wish(dry_run=True), **request)

    def rows(self, sql, params=()):
        """Read the store."""
        return self.house.read(lambda session: session.rows(sql, params))

    def status(self, run):
        return self.rows("SELECT status FROM run WHERE id = ?", [run])[0][0]


@pytest.fixture
def desk(house):
    return Desk(house)
