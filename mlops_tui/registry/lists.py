"""The lists of models and of their versions."""

from __future__ import annotations

from mlops_tui.contracts.listing import Column
from mlops_tui.registry.versions import LATEST_GATES
from mlops_tui.store.listing import Listing, lists

_GATES = f"""
LEFT JOIN (SELECT run_id, digest, count(*) AS n, count(*) FILTER (passed) AS passed
           FROM {LATEST_GATES} GROUP BY run_id, digest) g
  ON g.run_id = v.run_id AND g.digest = v.digest
"""
PROMPT = "mlflow.prompt.is_prompt"
IS_PROMPT = f"SELECT 1 FROM tag WHERE object = m.id AND key = '{PROMPT}' AND lower(value) = 'true'"
"""MLflow keeps its prompts among the models; they are shown to those who ask for prompts."""
_VERDICT = "CASE WHEN g.n IS NULL THEN 'none' WHEN g.passed = g.n THEN 'passed' ELSE 'failed' END"

lists(
    Listing(
        noun="version",
        source=f"""
        model_version v JOIN model m ON m.id = v.model_id LEFT JOIN run r ON r.id = v.run_id {_GATES}
        LEFT JOIN (SELECT version_id, string_agg(alias, ', ' ORDER BY alias) AS names FROM alias GROUP BY version_id) a
          ON a.version_id = v.id
        """,
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="model", label="model"),
            Column(name="version", label="version", kind="int"),
            Column(name="aliases", label="aliases"),
            Column(name="gates", label="gates", kind="status"),
            Column(name="metric", label="metric"),
            Column(name="value", label="value", kind="float"),
            Column(name="format", label="format"),
            Column(name="size", label="size", kind="bytes"),
            Column(name="run", label="run"),
            Column(name="created", label="created", kind="time"),
            Column(name="actor", label="by"),
            Column(name="digest", label="digest"),
            Column(name="description", label="description"),
            Column(name="stage", label="stage"),
            Column(name="source", label="source"),
        ],
        expressions={
            "id": "v.id",
            "model": "m.name",
            "version": "v.version",
            "aliases": "coalesce(a.names, '')",
            "gates": _VERDICT,
            "metric": "v.metric",
            "value": "v.value",
            "format": "v.format",
            "size": "v.size",
            "run": "coalesce(r.name, '')",
            "created": "epoch_us(v.created)",
            "actor": "v.actor",
            "digest": "v.digest",
            "description": "v.description",
            "stage": "v.stage",
            "source": "v.source",
        },
        sort="-created",
        tenant="m.tenant",
        where=f"m.deleted IS NULL AND v.deleted IS NULL AND NOT EXISTS ({IS_PROMPT})",
    )
)

lists(
    Listing(
        noun="model",
        source=f"""
        model m
        LEFT JOIN (SELECT model_id, count(*) AS n, max(version) AS latest, max(created) AS changed,
                          arg_max(id, version) AS latest_id
                   FROM model_version WHERE deleted IS NULL GROUP BY model_id) t ON t.model_id = m.id
        LEFT JOIN alias c ON c.model_id = m.id AND c.alias = 'champion'
        LEFT JOIN model_version v ON v.id = coalesce(c.version_id, t.latest_id)
        {_GATES}
        LEFT JOIN (SELECT r.version_id, count(DISTINCT d.id) AS n
                   FROM revision r JOIN deployment d ON d.id = r.deployment_id
                   WHERE d.removed IS NULL GROUP BY r.version_id) s ON s.version_id = v.id
        """,
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="champion", label="champion", kind="int"),
            Column(name="latest", label="latest", kind="int"),
            Column(name="versions", label="versions", kind="int"),
            Column(name="gates", label="gates", kind="status"),
            Column(name="metric", label="metric"),
            Column(name="value", label="value", kind="float"),
            Column(name="deployed", label="deployed", kind="int"),
            Column(name="changed", label="changed", kind="time"),
            Column(name="actor", label="by"),
            Column(name="description", label="description"),
        ],
        expressions={
            "id": "m.id",
            "name": "m.name",
            "champion": "CASE WHEN c.version_id IS NOT NULL THEN v.version END",
            "latest": "t.latest",
            "versions": "coalesce(t.n, 0)",
            "gates": _VERDICT,
            "metric": "coalesce(v.metric, '')",
            "value": "v.value",
            "deployed": "coalesce(s.n, 0)",
            "changed": "epoch_us(greatest(t.changed, m.updated, m.created))",
            "actor": "m.actor",
            "description": "m.description",
        },
        sort="-changed",
        tenant="m.tenant",
        where=f"m.deleted IS NULL AND NOT EXISTS ({IS_PROMPT})",
    )
)
