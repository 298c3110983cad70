"""Replayed traffic: a stored data set through the served model's own features, with labels that come late."""

from __future__ import annotations

import http.client
import os
import signal
import time
from contextlib import closing

import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.deploy.own import have_certificate
from mlops_tui.serving.deployment import OWN_CERTIFICATE
from mlops_tui.serving.exposure import own_line

GOOD = (0.0, 4.0, -2.0)


@pytest.fixture
def served(yard, request):
    """A deployment of a good model, people as data and their labels in a file of their own."""
    rng = np.random.default_rng(5)
    n = 400
    yard.people = {"id": np.arange(n), "age": rng.uniform(18, 80, n), "hours": rng.uniform(0, 100, n)}
    yard.labels_ = {"id": np.arange(n), "works": rng.random(n) < 0.5}
    yard.shown = yard.serve(yard.model(GOOD, evaluation=False))
    yard.data_ref = yard.data("people", yard.people)
    yard.labels_ref = yard.data("works", yard.labels_)
    return yard


def replay(yard, **options):
    body = {"deployment": "census", "data": yard.data_ref, "labels": yard.labels_ref, "label_column": "works"}
    return yard.client.run_job("deploy.replay", {**body, **options})


def asked(yard, secret):
    connection = http.client.HTTPConnection("127.0.0.1", int(yard.shown.url.rpartition(":")[2] or 0), timeout=10)
    deadline = time.monotonic() + 10
    while True:
        connection.request("GET", "/v2/models/census", headers={"authorization": f"Bearer {secret}"} if secret else {})
        answer = connection.getresponse()
        answer.read()
        if secret or answer.status != 200 or time.monotonic() > deadline:
            return answer.status
        time.sleep(0.05)  # the servers look for new tokens ten times a second


def test_where_clients_need_a_certificate_replays_and_warm_ups_show_one_of_our_own(served, tmp_path):
    for folder in (ours := tmp_path / "server", theirs := tmp_path / "clients"):
        folder.mkdir()
        have_certificate(folder)
    pem = str(ours / OWN_CERTIFICATE)
    shown = served.serve("census@1", "closed", tls_cert=pem, tls_key=pem, tls_client_ca=str(theirs / OWN_CERTIFICATE))
    with pytest.raises(OSError), closing(own_line(shown.url, 10.0)) as line:
        line.request("GET", "/v2/models/closed")
        line.getresponse()
    assert replay(served, deployment="closed", rows=40)["failed"] == 0
    served.taken_in("inference", 40, f"deployment_id = '{shown.id}'")
    made = served.model((0.0, 4.0, -1.9), evaluation=False)
    served.call("rollout.start", deployment="closed", model=made, steps=[5.0])
    told = served.until(
        lambda: [one.text for one in served.rollout("closed").events],
        lambda texts: any("warmed up by" in text for text in texts),
        what="it was warmed up",
    )
    assert "warmed up by 40 replayed requests" in " ".join(told)


def test_rows_features_scores_and_late_labels_are_those_of_the_files(served):
    result = replay(served, batch=3, rate=60, rows=100, where="age < 70", label_delay_s=0.6, prefix="y-")
    chosen = np.flatnonzero(served.people["age"] < 70)[:100]
    assert (result["rows"], result["requests"], result["failed"], result["labels"]) == (100, 34, 0, 100)
    assert 34 / 60 + 0.5 < result["seconds"] < 34 / 60 + 4
    served.taken_in("outcome", 100)
    rows = served.rows(
        """SELECT i.request_id, i."row", i.score, i.features, l.truth, epoch_us(l.ts) - epoch_us(i.ts)
           FROM inference i JOIN label l USING (deployment_id, request_id, "row") ORDER BY i.ts, i."row\""""
    )
    assert [(name, row) for name, row, *_ in rows] == [(f"y-{chosen[at - at % 3]}", at % 3) for at in range(100)]
    age, hours = served.people["age"][chosen] / 100, served.people["hours"][chosen] / 100
    np.testing.assert_allclose([row[3] for row in rows], np.stack([age, hours], axis=1), rtol=1e-6)
    np.testing.assert_allclose([row[2] for row in rows], 1 / (1 + np.exp(-(4 * hours - 2))), rtol=1e-5)
    assert [bool(row[4]) for row in rows] == served.labels_["works"][chosen].tolist()
    assert min(row[5] for row in rows) >= 600_000, "no label came before its time"

    made = served.call("token.add", deployment="census", client="app")
    assert [asked(served, secret) for secret in ("", made.token)] == [401, 200]
    again = replay(served, rows=10, labels="")
    assert again["failed"] == 0, "replays have a token of their own"
    assert again["labels"] == 0 and again["prefix"] not in ("", "y-"), "a replay has request ids of its own"
    with pytest.raises(BadInput, match="no row is to be sent"):
        replay(served, where="age > 1000")
    with pytest.raises(BadInput, match="nonsense"):
        replay(served, where="nonsense > 1000")


def test_servers_that_are_replaced_under_way_cost_no_row(served):
    started = served.call(
        "deploy.replay",
        deployment="census",
        data=served.data_ref,
        labels=served.labels_ref,
        label_column="works",
        rate=150,
    )
    served.taken_in("inference", 60)
    state = served.state(served.shown.id)
    for process in (state["process"], state["workers"][0]["process"]):
        os.kill(process["pid"], signal.SIGKILL)
    time.sleep(0.2)
    served.agent.kill()
    served.agent.start()
    served.client = served.agent.client()
    result = served.client.follow(started)
    assert (result["rows"], result["failed"], result["labels"]) == (400, 0, 400)
    served.taken_in("outcome", 400)
    counts = served.rows("SELECT count(*), count(DISTINCT request_id) FROM inference")[0]
    assert counts[1] == 400 and counts[0] <= 401, "at most the request under way was answered twice"
