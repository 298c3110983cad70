"""An exported program is opened without running what a stranger put into it."""

import io
import json
import os
import zipfile

import pytest

from mlops_tui.core.errors import Refused
from mlops_tui.registry.formats import examine
from mlops_tui.serving.models.engine.torch_model import TorchModel, is_arithmetic

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch = pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    net = torch.nn.Linear(3, 1).eval()
    torch.export.save(
        torch.export.export(net, (torch.zeros(2, 3),), dynamic_shapes=({0: torch.export.Dim("b")},)), path
    )
    return path


def changed(path, target, **parts):
    """Copy an archive with some of its parts (by the end of their names) replaced."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            made = next((make for end, make in parts.items() if name.endswith(end)), lambda data: data)
            copy.writestr(name, made(source.read(name)))
    return target


def opened(path):
    return TorchModel(path, False, None, 1, "cpu")


def test_a_program_says_what_it_takes_and_is_known_by_its_content(exported):
    model = opened(exported)
    assert [(one.datatype, one.shape) for one in (*model.inputs, *model.outputs)] == [
        ("FP32", (-1, 3)), ("FP32", (-1, 1))
    ]  # fmt: skip
    with exported.open("rb") as file:
        assert examine(file, exported.stat().st_size, "net") == ("pt2", {})


def test_a_pickle_that_names_code_does_not_run_it(exported, tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    buffer = io.BytesIO()
    torch.save((Evil(),), buffer)
    evil = changed(exported, tmp_path / "evil.pt2", **{"sample_inputs/model.pt": lambda data: buffer.getvalue()})
    with pytest.raises(Exception, match="Weights only load failed"):
        opened(evil)
    assert not (tmp_path / "ran").exists()


def test_a_size_that_is_code_does_not_run(exported, tmp_path):
    code = f"__import__('os').mkdir({str(tmp_path / 'ran')!r})"

    def rewritten(data):
        said = json.loads(data)
        text = json.dumps(said)
        assert '"expr_str"' in text

        def walk(node):
            if isinstance(node, dict):
                if "expr_str" in node:
                    node["expr_str"] = code
                for child in node.values():
                    walk(child)
            elif isinstance(node, list):
                for child in node:
                    walk(child)

        walk(said)
        return json.dumps(said).encode()

    evil = changed(exported, tmp_path / "evil.pt2", **{"models/model.json": rewritten})
    with pytest.raises(Exception, match="is no arithmetic"):
        opened(evil)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    ["s0", "Add(Symbol('s0', positive=True, integer=True), Integer(1))", "Max(1, s0//2)", "floor(s0/3.5)", "u0 & ~u1"],
)
def test_arithmetic(text):
    assert is_arithmetic(text)


@pytest.mark.parametrize(
    "text",
    [
        "exit()",
        "open('x')",
        "a.b",
        "__import__",
        "(1).real",
        "[1]",
        "eval(s0)",
        "s0; s1",
        "Symbol('a', x=eval)",
        "Symbol('a').b",
    ],
)
def test_what_is_none(text):
    assert not is_arithmetic(text)


def test_other_archives_are_refused_as_before(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}.")
    with (tmp_path / "x.zip").open("rb") as file, pytest.raises(Refused, match="archive with a pickle"):
        examine(file, (tmp_path / "x.zip").stat().st_size, "x")
