"""What a user of MLflow does with models, with nothing but the address set; as a program it prints what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pandas as pd
from mlflow import MlflowClient
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression


def main(folder: Path) -> dict[str, object]:
    client = MlflowClient()
    data = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=["a", "b", "c"])
    truth = (data.a + data.b > 0).astype(float)
    model = LogisticRegression().fit(data, truth)
    mlflow.set_experiment("registry")
    with mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(
            model, name="clf", registered_model_name="work", pip_requirements=[], serialization_format="cloudpickle"
        )
        frame = mlflow.data.from_pandas(data.assign(y=truth), targets="y", name="held-out")
        judged = mlflow.models.evaluate(
            logged.model_uri, frame, model_type="classifier", evaluator_config={"log_model_explainability": False}
        )
        mlflow.onnx.log_model(tiny(), name="net", registered_model_name="net", pip_requirements=[])
    client.set_registered_model_alias("work", "champion", "1")
    client.set_model_version_tag("work", "1", "reviewed", "yes")
    by_alias = mlflow.pyfunc.load_model("models:/work@champion")
    found = mlflow.search_logged_models(
        experiment_ids=[run.info.experiment_id],
        filter_string="metrics.accuracy_score > 0.9",
        datasets=[{"dataset_name": "held-out"}],
        output_format="list",
    )
    files = mlflow.artifacts.download_artifacts("models:/work@champion", dst_path=str(folder))
    return {
        "run": run.info.run_id,
        "logged": logged.model_id,
        "status": str(mlflow.get_logged_model(logged.model_id).status),
        "same": bool((by_alias.predict(data) == model.predict(data)).all()),
        "again": bool((mlflow.sklearn.load_model(logged.model_uri).predict(data) == model.predict(data)).all()),
        "accuracy": judged.metrics["accuracy_score"],
        "plots": sorted(one.path for one in client.list_artifacts(run.info.run_id)),
        "found": [one.name for one in found],
        "files": sorted(path.name for path in Path(files).iterdir()),
        "source": client.get_model_version_by_alias("work", "champion").source,
    }


def tiny() -> onnx.ModelProto:
    """Return a model that gives back what it takes."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "tiny", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
