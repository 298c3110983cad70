"""What MLflow finds by entry points: the scheme ``mlops-tui:`` for tracking and registry, and whose job asks.

``MLFLOW_TRACKING_URI=mlops-tui:`` starts the agent when it is not there and leads MLflow's own REST stores to
it. Nothing is kept here; mlflow is imported by whoever calls these functions, who has it.
"""

from __future__ import annotations

import os
from inspect import signature
from typing import Any

SCHEME = "mlops-tui"
JOB_HEADER = "X-Mlops-Job"


def job_header() -> dict[str, str]:
    """Return the header that names the job in which this process runs, if it does."""
    job = os.environ.get("MLOPS_JOB_ID")
    return {JOB_HEADER: job} if job else {}


def _credentials() -> Any:
    """Return where MLflow's stores ask, and with what."""
    from mlflow.utils.rest_utils import MlflowHostCreds

    from mlops_tui.mlflow_plugin.line import listener

    url, token = listener()
    return MlflowHostCreds(url, token=token)


def tracking_store(store_uri: str | None = None, artifact_uri: str | None = None, **_: Any) -> Any:
    """Return MLflow's tracking store, bound to the agent."""
    from mlops_tui.mlflow_plugin.stores import TrackingStore

    return TrackingStore(_credentials)


def registry_store(store_uri: str | None = None, **_: Any) -> Any:
    """Return MLflow's model registry, bound to the agent."""
    from mlops_tui.mlflow_plugin.stores import RegistryStore

    return RegistryStore(_credentials)


def artifact_repository(artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
    """Return MLflow's own repository for ``mlflow-artifacts:``, which wants to be told an address that is HTTP.

    Up to MLflow 3.0 it could not be told; then it is asked where the files lie.
    """
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
    from mlflow.tracking import get_tracking_uri

    asked = tracking_uri or get_tracking_uri()
    if asked.partition(":")[0] == SCHEME:
        from mlops_tui.mlflow_plugin.line import listener

        asked = listener()[0]
    taken = signature(MlflowArtifactsRepository.__init__).parameters
    if "tracking_uri" not in taken:
        return HttpArtifactRepository(MlflowArtifactsRepository.resolve_uri(artifact_uri, asked))
    more = {"registry_uri": registry_uri} if "registry_uri" in taken else {}
    return MlflowArtifactsRepository(artifact_uri, tracking_uri=asked, **more)


class JobHeaders:
    """Tells the agent in which of its jobs a client runs, so that its run belongs to the job."""

    def in_context(self) -> bool:
        """Tell whether this process runs in a job."""
        return bool(job_header())

    def request_headers(self) -> dict[str, str]:
        """Name the job."""
        return job_header()
