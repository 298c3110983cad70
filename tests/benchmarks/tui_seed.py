"""Fills the store of ``MLOPS_HOME`` with many runs, while no agent has it: ``tui_seed.py 1000000``."""

from __future__ import annotations

import sys

from mlops_tui.core.config import load
from mlops_tui.core.paths import home, private_dir
from mlops_tui.keys import open_keys
from mlops_tui.store.session import Session
from mlops_tui.store.store import Store

EXPERIMENT = "0193a000-0000-7000-8000-000000000000"


def main(runs: int) -> None:
    """Write the rows in one statement."""
    where = home()
    for folder in (where.data, where.spool, where.state, where.logs, where.jobs, where.deployments):
        private_dir(folder)
    store = Store(where.store, open_keys(where, load(where=where)).store_key)

    def fill(session: Session) -> None:
        session.insert(
            "experiment",
            id=EXPERIMENT,
            name="imagenet-100",
            tenant="default",
            created_us=1_700_000_000_000_000,
            note="",
        )
        session.execute(
            f"""
            INSERT INTO run (id, experiment_id, tenant, name, kind, status, started, ended, host, boot, actor,
                             command, git_sha, git_branch, error, note, summary, metric, value)
            SELECT format('0193a000-0000-7000-8000-{{:012x}}', i), '{EXPERIMENT}', 'default',
                   format('resnet-{{:06d}}', i), 'train', ['done', 'failed', 'done'][1 + i % 3],
                   TIMESTAMP '2026-01-01' + to_seconds(i), TIMESTAMP '2026-01-01' + to_seconds(i + i % 3600),
                   'box', '', 'amal', 'train.py', md5(i::VARCHAR), 'main', '', '', 'lr=0.01 depth=8', 'valid/auc',
                   hash(i) / 18446744073709551615.0
            FROM range({runs}) t(i)"""
        )

    store.write(fill)
    store.checkpoint().result()
    store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
