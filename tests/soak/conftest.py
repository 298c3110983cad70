from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def _load(name: str):
    """Load a file beside this one; test modules are found by path, not by name."""
    spec = importlib.util.spec_from_file_location(f"soak_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def harness():
    return _load("harness")


@pytest.fixture(scope="session")
def proof():
    return _load("proof")


@pytest.fixture(scope="session")
def writers():
    return _load("writers")


@pytest.fixture(scope="session")
def probe_rows(tmp_path_factory):
    """Feature rows as real traffic has them."""
    from mlops_tui.data import training_set
    from mlops_tui.data.online.transform import FeatureSet

    sample = FOLDER.parents[1] / "sample_data"
    features = FeatureSet.load(sample / "project/features.yaml")
    data = training_set.Source(sample / "census/employment_2016.parquet", sample / "census/labels_2016.parquet")
    out = tmp_path_factory.mktemp("probes") / "rows.parquet"
    return training_set.read(training_set.write(features, [data], out).path).x[:2000]
