"""Tokens of a deployment's clients through the door, and the file that its servers read."""

import json

import pytest

from mlops_tui.core.errors import NotFound
from mlops_tui.deploy import tokens
from mlops_tui.serving.deployment import OWN_TOKEN, TOKENS, own_headers
from mlops_tui.serving.protocol.tokens import Tokens


@pytest.fixture
def served(stage):
    stage.model()
    stage.id = stage.serve()
    stage.folder = stage.house.home.deployments / stage.id
    stage.folder.mkdir(parents=True, exist_ok=True)
    return stage


def good(stage, secret):
    return Tokens(stage.folder / TOKENS).holds(secret.encode())


def test_a_client_gets_a_token_once_and_the_servers_its_hash(served):
    assert not Tokens(served.folder / TOKENS).asked
    made = served.call("token.add", deployment="census", client="app")
    assert len(made.token) >= 40 and made.expires is None and good(served, made.token)
    assert made.token not in (served.folder / TOKENS).read_text()
    kept = json.dumps([served.house.read(lambda s: s.rows("SELECT * FROM deployment_token"))], default=str)
    assert made.token not in kept
    table = served.call("token.list")
    row = dict(zip([c.name for c in table.columns], table.rows[0], strict=True))
    assert (row["client"], row["deployment"], row["revoked"]) == ("app", "census", None)


def test_the_next_is_good_before_the_last_is_revoked(served):
    one = served.call("token.add", deployment="census", client="app", days=1)
    two = served.call("token.add", deployment="census", client="app")
    assert one.expires is not None and good(served, one.token) and good(served, two.token)
    served.call("token.revoke", token=one.id)
    assert not good(served, one.token) and good(served, two.token)
    with pytest.raises(NotFound):
        served.call("token.revoke", token=one.id)
    served.call("token.revoke", token="app")
    assert not good(served, two.token) and Tokens(served.folder / TOKENS).asked


def test_replays_of_our_own_have_a_token_of_theirs(served):
    assert own_headers(served.folder) == {}
    served.call("token.add", deployment="census", client="app")
    (_, _, secret) = own_headers(served.folder)["authorization"].partition(" ")
    assert good(served, secret) and (served.folder / OWN_TOKEN).stat().st_mode & 0o777 == 0o600
    served.call("token.add", deployment="census", client="other")
    assert good(served, secret)


def test_what_an_agent_left_undone_is_done_by_the_next(served):
    made = served.call("token.add", deployment="census", client="app")
    (served.folder / TOKENS).unlink()
    tokens.turn(served.house)
    assert good(served, made.token)
    (served.folder / TOKENS).write_text("{")
    tokens.turn(served.house)
    assert good(served, made.token)


def test_sampling_and_redaction_reach_the_servers(served):
    made = served.call("deploy.create", name="two", model="census@1", log_sample=0.5, redact=["age"])
    facts = served.house.read(lambda s: s.value("SELECT facts FROM deployment WHERE id = ?", [made.id]))
    assert json.loads(facts) == {"log_sample": 0.5, "redact": ["age"]}
