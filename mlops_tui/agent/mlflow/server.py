"""What a client asks before anything else: whether somebody is there, and what it can do."""

from __future__ import annotations

from typing import Any

from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.router import Call, Reply, route

SPOKEN = "3.17.2"
"""The version of MLflow whose API is spoken."""
TEXT = {"content-type": "text/plain; charset=utf-8"}


@route("GET", "/health", hot=True)
async def health(_call: Call, _ask: Ask) -> Reply:
    """Say that the agent is there."""
    return Reply(b"OK", headers=TEXT)


@route("GET", "/version", hot=True)
async def version(_call: Call, _ask: Ask) -> Reply:
    """Say which MLflow this is."""
    return Reply(SPOKEN.encode(), headers=TEXT)


def server_info(_call: Call, _ask: Ask) -> dict[str, Any]:
    """Say what this server can do beyond the basics."""
    return {
        "store_type": "SqlStore",
        "workspaces_enabled": False,
        "trace_archival_enabled": False,
        "multipart_uploads_enabled": False,
        "multipart_downloads_enabled": False,
        "presigned_upload_run_id_supported": False,
        "presigned_upload_model_id_supported": False,
        "features_enabled": {"gateway": False},
    }


for _path in ("/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"):
    route("GET", _path)(server_info)
