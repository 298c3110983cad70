"""The skeleton that ``mlops plugin new`` writes: a gate, its entry point and a test that passes."""

from __future__ import annotations

import re
from pathlib import Path

from mlops_tui.core.errors import BadInput, Conflict, MlopsError

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
description = "A gate for mlops_tui."
requires-python = ">=3.11"
dependencies = ["mlops_tui"]

# One module a side: agent, worker or screen. Only what is named here is ever imported.
[project.entry-points."mlops_tui.plugins"]
worker = "{module}.gate"

[tool.hatch.build.targets.wheel]
packages = ["src/{module}"]

[tool.pytest.ini_options]
pythonpath = ["src"]
"""

_INIT = '''\
"""{name}: a plugin of mlops_tui."""
'''

_GATE = '''\
"""A gate: the share of positive answers must stay within bounds."""

from __future__ import annotations

from mlops_tui.contracts.model import GateResult
from mlops_tui.plugins import hook
from mlops_tui.plugins.hookspecs import Candidate, Gate


class PositiveShare:
    """Refuses a model that says yes much more often than the labels do."""

    name = "positive-share"

    def judge(self, candidate: Candidate) -> GateResult:
        """Compare the share of scores above one half with the share of positive labels."""
        bound = float(candidate.bounds.get("max_difference", 0.2))
        said, true = float((candidate.scores > 0.5).mean()), float(candidate.labels.mean())
        text = f"says yes to {{said:.1%}}, true are {{true:.1%}}"
        value = abs(said - true)
        return GateResult(gate=self.name, passed=value <= bound, value=value, threshold=bound, text=text)


@hook
def mlops_gates() -> list[Gate]:
    """Bring the gate."""
    return [PositiveShare()]
'''

_TEST = """\
from __future__ import annotations

import numpy as np
from mlops_tui.plugins.hookspecs import Candidate

from {module}.gate import mlops_gates


def judged(scores):
    candidate = Candidate(run="r", labels=np.array([0, 1, 0, 1]), scores=np.array(scores), columns={{}})
    return mlops_gates()[0].judge(candidate)


def test_a_model_that_agrees_with_the_labels_passes():
    assert judged([0.1, 0.9, 0.2, 0.8]).passed


def test_a_model_that_always_says_yes_is_refused():
    verdict = judged([0.9, 0.9, 0.9, 0.9])
    assert not verdict.passed
    assert verdict.value == 0.5
"""

_README = """\
# {name}

A plugin of mlops_tui with one gate.

    pip install -e .
    python -m pytest
    mlops plugin trust {name}
"""


def write_skeleton(root: Path, name: str) -> list[Path]:
    """Write the files of a new plugin and return them.

    Args:
        root: its folder; must not exist, or be empty.
        name: the distribution's name.

    Raises:
        BadInput: the name is none that a package can have.
        Conflict: there is something in the folder.
        MlopsError: it cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name):
        raise BadInput(f"{name!r} cannot name a package", "", "lower-case letters, digits and hyphens: mlops-energy")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise Conflict(f"{root} is not empty", "nothing was written", "choose another name or folder")
    module = name.replace("-", "_")
    texts = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"src/{module}/__init__.py": _INIT,
        f"src/{module}/gate.py": _GATE,
        "tests/test_gate.py": _TEST,
    }
    written = []
    try:
        for path, text in texts.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.format(name=name, module=module))
            written.append(file)
    except OSError as error:
        raise MlopsError(f"cannot write {root}", str(error.strerror), "choose another folder with --in") from error
    return written
