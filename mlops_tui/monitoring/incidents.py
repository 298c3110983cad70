"""Rollouts that were rolled back become alerts: the deploy room moves traffic, this room tells people."""

from __future__ import annotations

from typing import Any

from mlops_tui.deploy.rollout.machine import TERMINAL
from mlops_tui.door import Context, House, act, every
from mlops_tui.monitoring import alerts

RULE = "rollout"
_ENDED = f"""
    WITH r AS (SELECT r.*, d.name AS deployment, d.removed FROM rollout r JOIN deployment d ON d.id = r.deployment_id
               QUALIFY row_number() OVER (PARTITION BY deployment_id ORDER BY started DESC) = 1),
         e AS (SELECT rollout_id, arg_max(state, seq) AS state, arg_max(text, seq) AS text FROM rollout_event
               WHERE rollout_id IN (SELECT id FROM r) GROUP BY 1)
    SELECT r.id, r.tenant, r.deployment, r.removed IS NOT NULL AS gone, c.label AS canary, e.state, e.text
    FROM r JOIN e ON e.rollout_id = r.id JOIN revision c ON c.deployment_id = r.deployment_id AND c.no = r.canary_no
    WHERE e.state IN {TERMINAL}"""
_UNTOLD = f"""{_ENDED} AND e.state = 'RolledBack' AND r.removed IS NULL
    AND NOT EXISTS (SELECT 1 FROM alert a WHERE a.link = 'rollout:' || r.id)"""
_OVER = f"""{_ENDED} AND (e.state = 'Succeeded' OR r.removed IS NOT NULL)
    AND EXISTS (SELECT 1 FROM alert a WHERE a.rule = '{RULE}' AND a.subject = r.deployment AND a.closed IS NULL)"""

_seen: tuple[Any, ...] = ()


@every(1.0, "monitoring.incidents")
def turn(house: House) -> None:
    """Open an alert for each rollback once; close it when a later rollout succeeds or the deployment is gone."""
    global _seen
    if (now := (str(house.home.data), *house.feed.version(("rollout", "deploy")))) == _seen:
        return
    for row in house.read(lambda s: s.dicts(_UNTOLD)):
        _write(house, row, opens=True)
    for row in house.read(lambda s: s.dicts(_OVER)):
        _write(house, row, opens=False)
    _seen = now


def _write(house: House, row: dict[str, Any], *, opens: bool) -> None:
    name = row["deployment"]

    def write(ctx: Context) -> None:
        alerts.resolve(ctx, RULE, name, "a later rollout ended" if not row["gone"] else "the deployment was removed")
        if opens:
            text = f"{name} {row['canary']} was rolled back: {row['text']}"
            detail = {"rollout": row["id"], "canary": row["canary"]}
            alerts.open_alert(ctx, RULE, name, "fail", text, detail, f"rollout:{row['id']}")

    act(house, alerts.engine(row["tenant"]), write)
