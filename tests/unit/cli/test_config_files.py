"""Changing one value of a TOML file in place."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_tui.cli.commands.toml import line_of, with_value
from mlops_tui.core.errors import BadInput

FILE = """\
# mine
theme = "auto"  # colours
user = 'a # b' # who

[store]
# keep
encryption = "on"

[agent]
idle_exit_s = 5
"""


def test_a_value_is_replaced_and_all_else_stays():
    after = with_value(FILE, "theme", "ansi-dark")
    assert after == FILE.replace('"auto"  #', '"ansi-dark"  #')
    assert with_value(FILE, "store.encryption", "off") == FILE.replace('"on"', '"off"')
    assert with_value(FILE, "user", "noor") == FILE.replace("'a # b'", '"noor"')
    assert with_value(FILE, "agent.idle_exit_s", 0) == FILE.replace("= 5", "= 0")


def test_a_new_value_goes_into_its_table_or_before_all_tables():
    after = with_value(FILE, "store.key_source", "file")
    assert after.splitlines()[5] == 'key_source = "file"'
    after = with_value(FILE, "jobs.parallel", 2)
    assert tomllib.loads(after)["jobs"] == {"parallel": 2} and after.splitlines()[4] == "jobs.parallel = 2"
    assert with_value("", "readonly", True) == "readonly = true\n"


@pytest.mark.parametrize(
    ("key", "line"), [("theme", 2), ("store.encryption", 7), ("agent.idle_exit_s", 10), ("encryption", 0), ("nope", 0)]
)
def test_the_line_of_a_value(key, line):
    assert line_of(FILE, key) == line


def test_the_line_in_a_pyproject():
    assert (
        line_of(
            '[project]\nname = "x"\n[tool.mlops]\ntheme = "auto"\n[tool.mlops.store]\nencryption = "off"\n', "theme"
        )
        == 4
    )
    assert line_of('[tool.mlops.store]\nencryption = "off"\n', "store.encryption") == 2


@pytest.mark.parametrize("text", ['store = { encryption = "on" }\n', 'theme = """\nauto"""\n', "theme = [\n1]\n"])
def test_a_file_that_is_written_in_an_unusual_way_is_left_alone(text):
    with pytest.raises(BadInput, match="without risk"):
        with_value(text, "theme" if "theme" in text else "store.encryption", "x")


def test_what_is_no_toml_is_refused():
    with pytest.raises(BadInput, match="no TOML"):
        with_value("a = = 1", "theme", "x")


@given(
    st.dictionaries(st.sampled_from(["theme", "user", "store.encryption", "jobs.parallel"]), st.text(max_size=8)),
    st.text(),
)
def test_whatever_text_is_set_is_read_back(values, last):
    text = ""
    for key, value in [*values.items(), ("user", last)]:
        try:
            text = with_value(text, key, value)
        except BadInput:
            return  # what TOML cannot hold (a lone surrogate, a control character) is refused, nothing is broken
    assert tomllib.loads(text)["user"] == last
