"""Finding a deployment by what people call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.door.lookup import by_name_or_id
from mlops_tui.serving import exposure
from mlops_tui.serving.deployment import own_certificate
from mlops_tui.store.session import Session


def find_deployment(session: Session, tenant: str, typed: str) -> dict[str, Any]:
    """Return the row of a deployment by name or id, with ``created_us``; removed ones are not found.

    Raises:
        NotFound: there is none.
        BadInput: an id fragment fits several.
    """
    row = by_name_or_id(session, "deployment", "deployment", typed, tenant, newest="created", where="removed IS NULL")
    row["created_us"] = session.value("SELECT epoch_us(created) FROM deployment WHERE id = ?", [row["id"]])
    return row


def url_of(row: dict[str, Any]) -> str:
    """Return the address of a deployment from its row; empty before its servers have a port."""
    return exposure.url(row["host"], row["port"], "tls" in msgspec.json.decode(row["facts"] or "{}"))


def asks_certificates(row: dict[str, Any]) -> bool:
    """Tell whether a deployment's clients need a certificate; this installation has one for servers of its own."""
    return bool((msgspec.json.decode(row["facts"] or "{}").get("tls") or {}).get("client_ca"))


def shut_to_us(row: dict[str, Any], folder: Path) -> bool:
    """Tell whether a deployment's servers, whose folder here is given, want a certificate that we do not have."""
    return asks_certificates(row) and own_certificate(folder) is None


def labels_of(session: Session, deployment: str) -> dict[int, str]:
    """Return what people call each revision of a deployment, by its number."""
    return dict(session.rows("SELECT no, label FROM revision WHERE deployment_id = ?", [deployment]))
