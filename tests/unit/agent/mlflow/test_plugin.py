"""The entry points that MLflow finds: they serve every MLflow that is installed, not only the newest."""

from __future__ import annotations

import pytest

from mlops_tui import mlflow_plugin

SERVER, PATH = "http://127.0.0.1:5000", "/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts"


def first_of_mlflow_3(self, artifact_uri):
    raise AssertionError("it would ask for the address itself, which may not be HTTP")


def without_registry(self, artifact_uri, tracking_uri=None):
    super(type(self), self).__init__(self.resolve_uri(artifact_uri, tracking_uri), tracking_uri)


@pytest.mark.parametrize("init", [None, without_registry, first_of_mlflow_3])
def test_files_of_a_server_are_found_whatever_the_repository_of_this_mlflow_takes(monkeypatch, init):
    repos = pytest.importorskip("mlflow.store.artifact.mlflow_artifacts_repo")
    if init:
        monkeypatch.setattr(repos.MlflowArtifactsRepository, "__init__", init)
    found = mlflow_plugin.artifact_repository("mlflow-artifacts:/0/run/artifacts", SERVER)
    assert found.artifact_uri == SERVER + PATH
