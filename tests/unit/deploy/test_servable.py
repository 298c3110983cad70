"""What a server is told of a model version."""

import pytest

from mlops_tui.core.errors import Refused


def test_a_version_says_where_it_lies_and_what_runs_it(stage):
    stage.model(versions=2)
    said = stage.call("deploy.servable", model="census@2")
    assert (said.name, said.label, said.model.keys()) == ("census", "v2", {"file", "digest"})
    assert said.model["digest"] == f"{2:064x}" and said.model["file"].endswith(f"{2:064x}"[2:])


def test_what_no_engine_runs_is_refused(stage):
    stage.model(form="safetensors")
    with pytest.raises(Refused, match="cannot be served · it is safetensors"):
        stage.call("deploy.servable", model="census@1")
