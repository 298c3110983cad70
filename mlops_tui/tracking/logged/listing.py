"""The list of logged models."""

from __future__ import annotations

from mlops_tui.contracts.listing import Column
from mlops_tui.store.listing import Listing, lists

lists(
    Listing(
        noun="logged",
        source="""
        logged_model l JOIN experiment e ON e.id = l.experiment_id LEFT JOIN run r ON r.id = l.run_id
        LEFT JOIN (SELECT run, count(*) AS n, sum(size) AS size FROM run_artifact GROUP BY run) f ON f.run = l.id
        """,
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="experiment", label="experiment"),
            Column(name="status", label="status", kind="status"),
            Column(name="kind", label="kind"),
            Column(name="run", label="run"),
            Column(name="files", label="files", kind="int"),
            Column(name="size", label="size", kind="bytes"),
            Column(name="created", label="created", kind="time"),
            Column(name="actor", label="by"),
        ],
        expressions={
            "id": "l.id",
            "name": "l.name",
            "experiment": "e.name",
            "status": "l.status",
            "kind": "l.kind",
            "run": "coalesce(r.name, l.run_id)",
            "files": "coalesce(f.n, 0)",
            "size": "coalesce(f.size, 0)",
            "created": "epoch_us(l.created)",
            "actor": "l.actor",
        },
        sort="-created",
        tenant="l.tenant",
        deleted="l.deleted",
    )
)
