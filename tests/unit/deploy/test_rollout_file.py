"""A rollout as a file: what it may say, what is said when it says something else, and the schema that is published."""

import json
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from mlops_tui.contracts.rollout import StartRollout
from mlops_tui.contracts.rollout_file import Spec, schema, seconds
from mlops_tui.core.errors import BadInput
from mlops_tui.deploy.rollout.file import chosen, filled, kept, read

WHOLE = """\
apiVersion: mlops-tui/v1
kind: Rollout
metadata: {name: spring, labels: {team: lending}}
spec:
  deployment: census
  model: census@2
  digest: "0000000000000000000000000000000000000000000000000000000000000002"
  strategy: canary
  sticky: x-user-id
  warmup: 50
  steps:
    - {shadow: true, for: 10m}
    - {weight: 5, for: 30s}
    - {weight: 25, until: proven_safe, max: 2h, minRequests: 500}
    - {approve: the product owner}
    - weight: 50
  analysis:
    every: 15s
    alpha: 0.02
    minRequests: 300
    harm:
      - {event: error, maxRatio: 1.5}
      - {event: latency, maxSlowdown: 1.2, slackMs: 2}
    limits:
      - {event: error, maxShare: 0.02}
      - {event: latency, aboveMs: 80, maxShare: 0.05}
    drift: {max: 0.2, then: hold}
    onNoData: rollback
  onFailure: pause
  keepOld: 1h
  rollbackWindow: 3d
  deadline: 8h
  fallback: {to: v1, on: [error, timeout], timeout: 50ms, lastResort: {score: 0.5}}
"""


def test_a_whole_file_says_everything():
    spec = read(WHOLE)
    assert [one.kind for one in spec.steps] == ["shadow", "weight", "weight", "approve", "weight"]
    assert (seconds(spec.steps[0].for_), spec.steps[2].until, spec.steps[2].min_requests) == (600, "proven_safe", 500)
    assert [one.event for one in spec.analysis.harm] == ["error", "latency"]
    assert (spec.analysis.drift.then, spec.analysis.limits[1].above_ms, seconds(spec.keep_old)) == ("hold", 80, 3600)
    assert (spec.fallback.on, seconds(spec.fallback.timeout)) == (("error", "timeout"), 0.05), "on is a word"
    assert (spec.fallback.to, spec.fallback.last_resort) == ("v1", {"score": 0.5})
    assert kept(msgspec.json.encode(spec).decode()) == spec, "the store gives back what was asked for"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("weight: 50", "weigth: 50", "line 16: there is no key 'weigth' here.*did you mean weight?"),
        ("onNoData: rollback", "onNodata: rollback", "line 28.*did you mean onNoData?"),
        ("strategy: canary", "strategie: canary", "line 8.*did you mean strategy?"),
        ("strategy: canary", "strategy: canry", "line 8: spec.strategy: .*'canry' · one of: .*did you mean canary?"),
        ("onNoData: rollback", "onNoData: ask", "line 28: .*'ask' · one of: hold, proceed, rollback"),
        ("{weight: 5, for: 30s}", "{weight: 500}", "line 13: spec.steps.1..weight: expected `float` < 100"),
        ("{weight: 5, for: 30s}", "{weight: 5, for: 30 fortnights}", "30 fortnights' is no duration"),
        ("{weight: 5, for: 30s}", "{weight: 5, approve: me}", "step 2 says weight and approve"),
        ("{weight: 5, for: 30s}", "{weight: 45}", "weights rise"),
        ("- weight: 50", "- {shadow: true}", "a shadow step comes before the first weight"),
        ("apiVersion: mlops-tui/v1", "apiVersion: mlops-tui/v2", "line 1: apiVersion: invalid enum value"),
        ("alpha: 0.02", "alpha: 2", "line 19: spec.analysis.alpha: expected `float` < 1"),
        ("kind: Rollout", "kind: Rollout\nextra: 1", "line 3: there is no key 'extra'"),
        ("  deployment: census\n", "", "line 5: spec: object missing required field `deployment`"),
        ("kind: Rollout", "kind: [Rollout", "no YAML"),
        ("strategy: canary", "strategy: canary\n  strategy: shadow", "line 9: 'strategy' stands in line 8 already"),
        ("metadata: {name", "metadata: &a {name: *a, x", "aliases"),
    ],
)
def test_a_mistake_is_named_with_its_line(before, after, says):
    assert before in WHOLE
    with pytest.raises(BadInput, match=says):
        read(WHOLE.replace(before, after, 1))


def test_the_example_that_is_shipped_is_a_rollout_file():
    text = (Path(__file__).parents[3] / "sample_data" / "project" / "rollout.yaml").read_text()
    assert [one.kind for one in read(text).steps] == ["shadow", "weight", "weight", "approve", "weight"]


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "x" * 100_001])
def test_what_is_no_rollout_file_is_refused(text):
    with pytest.raises(BadInput):
        read(text)


@pytest.mark.parametrize(
    ("strategy", "kinds", "warmup"),
    [
        ("canary", ["weight"] * 3, 100),
        ("blue-green", [], 100),
        ("recreate", [], 100),
        ("shadow", ["shadow"], 100),
        ("ab", ["weight", "approve"], 100),
    ],
)
def test_a_strategy_brings_its_steps(strategy, kinds, warmup):
    plain = filled(Spec(deployment="d", model="m@2", strategy=strategy))
    usual = chosen(StartRollout(deployment="d", model="m@2", strategy=strategy), labelled=True)
    for spec in (plain, usual):
        assert ([one.kind for one in spec.steps], spec.warmup) == (kinds, warmup)


def test_a_rollout_from_before_there_were_files_can_still_be_read():
    old = {"deployment": "d", "model": "m@2", "strategy": "canary", "steps": [5.0, 25.0], "step_s": 60.0}
    old |= {"look_s": 10.0, "deadline_s": 86400.0, "events": ["error", "wrong"], "alpha": 0.05, "max_ratio": 1.25}
    spec = kept(json.dumps(old | {"min_requests": 200, "on_no_data": "hold"}))
    assert [one.weight for one in spec.steps] == [5.0, 25.0]


def test_the_published_schema_is_that_of_the_program():
    published = json.loads(files("mlops_tui.contracts").joinpath("rollout.schema.json").read_text())
    assert published == json.loads(json.dumps(schema())), "write it anew: python -m mlops_tui.contracts.rollout_file"


@pytest.mark.parametrize(
    ("said", "found"), [(3, 3.0), ("5ms", 0.005), ("90", 90.0), ("1.5h", 5400.0), (" 7d ", 604_800.0)]
)
def test_durations(said, found):
    assert seconds(said) == pytest.approx(found)


@pytest.mark.parametrize("said", ["", "h", "-3s", "nan", "1w", "3 h h", "infs"])
def test_no_durations(said):
    with pytest.raises(ValueError, match=r"duration|float"):
        seconds(said)


STICKY = """
apiVersion: mlops-tui/v1
kind: Rollout
spec:
  deployment: census
  model: census@2
  sticky: {sticky}
"""


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("X-User", "X-User"),
        ("{header: X-User}", "X-User"),
        ("{field: customer_id}", "field:customer_id"),
        ("field:customer id", "field:customer id"),
        ("id", "id"),
    ],
)
def test_clients_stick_by_a_header_a_field_or_each_request_by_itself(said, meant):
    assert read(STICKY.replace("{sticky}", said)).sticky == meant


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("{}", "sticky says neither"),
        ("{header: a, field: b}", "sticky says header and field"),
        ("customer id", "cannot stick by 'customer id'"),
        ("'field:'", "cannot stick by 'field:'"),
        ("{feild: customer_id}", "no key 'feild' here"),
    ],
)
def test_what_clients_cannot_stick_by_is_refused_in_a_sentence(said, why):
    with pytest.raises(BadInput, match=why):
        read(STICKY.replace("{sticky}", said))
