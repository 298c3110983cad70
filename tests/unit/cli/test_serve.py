"""``mlops serve`` hands every wish to the server, which understands it."""

import inspect
from types import SimpleNamespace

import pytest

from mlops_tui.cli.commands import serve
from mlops_tui.serving.process import alone

HERE = ("ctx", "source", "profile")
"""What the command line itself acts on; a profile belongs to a registered model."""
CHOICES = {"provider": "cuda", "provider_policy": "require", "insecure": True}


def test_every_option_reaches_the_server(tmp_path, monkeypatch):
    handed = []

    def become(module, words):
        handed.append((module, words))
        raise SystemExit(0)

    monkeypatch.setattr(serve, "to_module", become)
    model = tmp_path / "model.onnx"
    model.touch()
    options = {}
    for number, (name, one) in enumerate(inspect.signature(serve.serve).parameters.items()):
        if name not in HERE:
            kind = str(one.annotation)
            options[name] = 0.5 if "float" in kind else 10 + number if "int" in kind else f"value-{number}"
    options |= CHOICES
    wishes = SimpleNamespace(format="table", verbose=False)
    with pytest.raises(SystemExit):
        serve.serve(SimpleNamespace(obj=wishes), str(model), profile="auto", **options)
    ((module, words),) = handed
    assert module == "mlops_tui.serving.process.alone"
    found = vars(alone._parser().parse_args(words))
    assert {name: found.get(name) for name in options} == options
