"""Registered models as an export writes them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from mlops_tui.contracts import exchange as contract
from mlops_tui.contracts.operation import Empty
from mlops_tui.door import Context, implements
from mlops_tui.store.tags import tags_by
from mlops_tui.tracking.exchange.give import files_by

_VERSIONS = """
SELECT v.id, v.model_id, v.version, coalesce(v.run_id, '') AS run, v.logged_id AS logged, v.description, v.stage,
  v.actor, epoch_us(v.created) AS created, epoch_us(coalesce(v.updated, v.created)) AS updated,
  CASE WHEN v.source <> '' THEN v.source ELSE coalesce('runs:/' || a.run || '/' || a.path, '') END AS source
FROM model_version v LEFT JOIN run_artifact a ON v.source = '' AND a.run = v.run_id AND a.digest = v.digest
WHERE v.deleted IS NULL AND v.model_id IN (SELECT unnest(?)) QUALIFY row_number() OVER (PARTITION BY v.id) = 1
ORDER BY v.version
"""


@implements(contract.registered)
def registered(ctx: Context, request: Empty) -> contract.ExportedModels:
    """Read every model with its versions and aliases."""
    session = ctx.session
    models = session.dicts(
        """SELECT id, name, description, epoch_us(created) AS created, epoch_us(coalesce(updated, created)) AS updated
           FROM model WHERE tenant = ? AND deleted IS NULL ORDER BY name""",
        [ctx.tenant],
    )
    ids = [row["id"] for row in models]
    rows = session.dicts(_VERSIONS, [ids])
    owners = [row["id"] for row in rows]
    tags, files = tags_by(session, [*ids, *owners]), files_by(session, owners)
    versions: dict[str, list[contract.OutVersion]] = defaultdict(list)
    for row in rows:
        owner, model = row.pop("id"), row.pop("model_id")
        versions[model].append(contract.OutVersion(tags=tags[owner], files=files[owner], **row))
    aliases: dict[str, dict[str, int]] = defaultdict(dict)
    for model, alias, version in session.rows(
        "SELECT a.model_id, a.alias, v.version FROM alias a JOIN model_version v ON v.id = a.version_id"
    ):
        aliases[model][alias] = version
    return contract.ExportedModels(models=[_shown(row, tags, aliases, versions) for row in models])


def _shown(row: dict[str, Any], tags: Any, aliases: Any, versions: Any) -> contract.OutModel:
    model = row.pop("id")
    return contract.OutModel(tags=tags[model], aliases=aliases[model], versions=versions[model], **row)
