"""Deployments through the door: created, refused, shown, listed, rolled back, removed."""

import json
import socket
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mlops_tui.core.errors import BadInput, Conflict, NotFound, Refused
from mlops_tui.deploy import tokens, traffic
from mlops_tui.deploy.targets import reconcile
from mlops_tui.serving.protocol.tokens import Tokens
from mlops_tui.spool.process import this_process


def test_a_new_deployment_gives_its_one_revision_everything(stage):
    stage.model(versions=3)
    made = stage.call("deploy.create", name="census", model="census@2", workers=3, environment="prod")
    assert (made.status, made.environment, made.url) == ("starting", "prod", "")
    assert [(one.label, one.model, one.version, one.role, one.weight) for one in made.revisions] == [
        ("v2", "census", 2, "stable", 100.0)
    ]
    assert stage.split(made.id) == {1: ("stable", 100.0)}
    table = stage.call("deploy.list")
    assert dict(zip([column.name for column in table.columns], table.rows[0], strict=True))["split"] == "v2 100 %"


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        ({"name": "census", "model": "census@1"}, Conflict, "mlops rollout start census census@1"),
        ({"name": "two", "model": "census@9"}, NotFound, "no version 9"),
        ({"name": "two", "model": "census@1", "target": "moon"}, BadInput, "moon"),
        ({"name": "two", "model": "census@1", "environment": "moon"}, BadInput, "staging"),
        ({"name": "two", "model": "forest@1"}, Refused, "it is json"),
    ],
)
def test_what_cannot_be_served_is_refused(stage, request_, error, says):
    stage.model()
    stage.model("forest", form="json")
    stage.serve()
    with pytest.raises(error, match=says):
        stage.call("deploy.create", **request_)


def test_a_port_in_use_is_refused_up_front(stage):
    stage.model()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} on 127.0.0.1 is in use"):
            stage.call("deploy.create", name="census", model="census@1", port=port)
    stage.call("deploy.create", name="census", model="census@1", port=port)
    with pytest.raises(Conflict, match="belongs to the deployment census"):
        stage.call("deploy.create", name="two", model="census@1", port=port)


def test_a_removed_deployment_is_gone_for_people_and_its_name_is_free(stage):
    stage.model(versions=2)
    deployment = stage.serve()
    stage.call("rollout.start", deployment="census", model="census@2")
    stage.call("deploy.remove", deployment="census")
    with pytest.raises(NotFound):
        stage.call("deploy.show", deployment="census")
    assert stage.call("deploy.list").total == 0
    assert stage.call("rollout.status", rollout="census").state == "Aborted"
    assert stage.value("SELECT status FROM deployment") == "draining"
    reconcile.turn(stage.house)
    assert stage.value("SELECT status FROM deployment") == "removed"
    assert not (stage.house.home.deployments / deployment).exists()
    stage.call("deploy.create", name="census", model="census@2")


def test_a_rollback_goes_further_back_each_time_and_never_forward(stage):
    stage.model(versions=3)
    deployment = stage.serve()
    fast = {"strategy": "blue-green", "keep_old_s": 0.0}
    for version in (2, 3):
        stage.call("rollout.start", deployment="census", model=f"census@{version}", **fast)
        for _ in range(6):
            stage.servers(deployment)
            stage.turn()
        assert stage.state() == "Succeeded"
    assert stage.split(deployment) == {3: ("stable", 100.0)}
    plan = stage.call("rollout.rollback", deployment="census")
    assert plan.text == "census goes back from v3 to v2"
    stage.call("rollout.rollback", deployment="census")
    assert stage.split(deployment) == {1: ("stable", 100.0)}
    with pytest.raises(Conflict, match="nothing to go back to"):
        stage.call("rollout.rollback", deployment="census")


def test_a_rollback_comes_back_to_what_was_before_a_later_rollout(stage):
    stage.model(versions=3)
    deployment = stage.serve()

    def to(no, strategy):
        stage.house.store.write(
            lambda s: traffic.shift(_context(stage, s), deployment, traffic.all_to(no), strategy, "")
        )

    stage.call("rollout.start", deployment="census", model="census@2")
    stage.call("rollout.abort", rollout="census")
    to(2, "canary"), to(1, "rollback"), to(3, "canary")
    assert stage.house.read(lambda s: traffic.before_stable(s, deployment)) == 1


def _context(stage, session):
    from mlops_tui.door.context import Caller, Context

    return Context(stage.house, Caller.system(), session)


def test_two_models_of_one_version_number_have_labels_of_their_own(stage):
    stage.model()
    stage.model("other")
    stage.serve()
    stage.call("rollout.start", deployment="census", model="other@1")
    shown = stage.call("deploy.show", deployment="census")
    assert [one.label for one in shown.revisions] == ["v1", "other-v1"]
    assert shown.rollout == stage.call("rollout.status", rollout="census").id


def test_the_agent_stays_while_something_is_served(stage):
    from mlops_tui.deploy.deployments import _serves

    stage.model()
    assert not stage.house.read(_serves)
    stage.serve()
    assert stage.house.read(_serves)


def test_the_end_of_the_log_is_read(stage):
    stage.model()
    deployment = stage.serve()
    assert stage.call("deploy.logs", deployment="census").lines == []
    folder = stage.house.home.deployments / deployment
    folder.mkdir()
    (folder / "server.log").write_text("".join(f"line {n}\n" for n in range(500)))
    found = stage.call("deploy.logs", deployment="census", lines=2)
    assert (found.lines, found.last) == (["line 498", "line 499"], 2)


def test_how_models_are_to_run_is_kept_and_how_they_do_is_shown(stage):
    stage.model()
    with pytest.raises(BadInput, match="no provider 'gpu'"):
        stage.call("deploy.create", name="census", model="census@1", provider="gpu")
    with pytest.raises(BadInput, match="is no Python"):
        stage.call("deploy.create", name="census", model="census@1", python="/no/python")
    made = stage.call("deploy.create", name="census", model="census@1", provider="cuda", threads=2)
    facts = stage.value("SELECT facts FROM deployment")
    assert json.loads(facts) == {"provider": "cuda", "threads": 2}
    assert made.revisions[0].engine == ""
    folder = stage.house.home.deployments / made.id
    folder.mkdir(mode=0o700)
    said = {"engine": "pyfunc", "provider": "cpu", "why": "no GPU", "state": "open", "restarts": 3}
    (folder / "state.json").write_text(json.dumps({"process": this_process(), "models": {made.revisions[0].id: said}}))
    (shown,) = stage.call("deploy.show", deployment="census").revisions
    assert (shown.engine, shown.provider) == ("pyfunc", "cpu")
    assert shown.condition == "no GPU; crashed too often, left alone for a while; started again 3 times"


@pytest.fixture
def certificate(tmp_path):
    """Files of a certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (tmp_path / "cert").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    (tmp_path / "key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return str(tmp_path / "cert"), str(tmp_path / "key")


def test_beyond_loopback_a_deployment_needs_tls_and_asks_for_tokens_before_there_are_any(stage, certificate):
    cert, key = certificate
    stage.model()

    def planned(**more):
        return stage.plan("deploy.create", name="open", model="census@1", host="0.0.0.0", **more)

    with pytest.raises(Refused, match=r"not only this machine · without TLS .*; whoever reaches the port"):
        planned()
    with pytest.raises(BadInput, match="needs a certificate and its key"):
        planned(tls_cert=cert)
    assert planned(insecure=True).warnings == [
        "0.0.0.0 is open: without TLS whoever is on the way reads and changes what is sent; "
        "whoever reaches the port may ask"
    ]
    assert planned(tls_cert=cert, tls_key=key, tls_client_ca=cert).warnings == []
    assert planned(tls_cert=cert, tls_key=key).warnings == ["nobody may ask it until mlops token add open CLIENT"]
    made = stage.call("deploy.create", name="open", model="census@1", host="0.0.0.0", tls_cert=cert, tls_key=key)
    stage.house.store.write(lambda s: s.execute("UPDATE deployment SET port = 8443"))
    assert stage.call("deploy.show", deployment="open").url == "https://0.0.0.0:8443"
    table = stage.call("deploy.list")
    assert dict(zip([column.name for column in table.columns], table.rows[0], strict=True))["url"] == (
        "https://0.0.0.0:8443"
    )
    facts = json.loads(stage.house.read(lambda s: s.value("SELECT facts FROM deployment")))
    assert facts == {"tls": {"cert": cert, "key": key, "client_ca": None}, "ask_token": True}
    assert made.id in stage.house.read(tokens._deployments)
    assert Tokens(None, always=True).asked and not Tokens(None).asked
