"""A/B tests: who is exposed, what late labels say, when a verdict is reached, how it ends."""

import re

import numpy as np
import pytest

from mlops_tui.abtest import engine
from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.core.errors import BadInput, Conflict, NotFound, Refused


@pytest.fixture
def tested(stage):
    """A deployment whose stable version is 2; ``begin`` starts a test of 1 against 3 that the servers show."""
    stage.model(versions=3)
    stage.id = stage.serve(model="census@2")

    def begin(**options):
        made = stage.call("ab.start", deployment="census", a="census@1", b="census@3", **options)
        stage.servers(stage.id)
        return made

    stage.begin = begin
    return stage


def status(stage):
    return stage.call("ab.status", test="census")


def test_the_arms_share_the_traffic_by_the_hash_of_the_request(tested):
    made = tested.begin(split=30.0, name="one")
    assert tested.split(tested.id) == {2: ("A", 70.0), 3: ("B", 30.0)}
    assert [(arm.arm, arm.label) for arm in made.arms] == [("A", "v1"), ("B", "v3")]
    from mlops_tui.deploy import traffic

    assert tested.house.read(lambda s: traffic.current(s, tested.id)).split.sticky == "x-request-id"
    assert (made.state, made.verdict) == ("running", "needs_more_data")


def test_a_plan_says_how_many_units_it_takes_and_how_long_that_is_by_the_labels_of_the_day(tested):
    def told(**options):
        plan = tested.plan("ab.start", deployment="census", a="census@1", b="census@3", margin=0.05, **options)
        return next(change.after for change in plan.changes if change.field == "needs"), plan.digest

    blind, agreed = told()
    assert re.fullmatch(r"about [\d,]+ labelled requests where B is 0.05 better, [\d,]+ at most", blind)
    assert told(sticky="x-user")[0] == blind.replace("labelled requests", "clients with labels")
    ids = tested.answer(tested.id, 1, [0.9] * 200)
    tested.label(tested.id, ids, [1] * 190 + [0] * 10)
    tested.evidence()
    known, again = told()
    assert re.search(r"at most: \S+ and \S+ at \S+/s, as in the last day$", known)
    likely, most = (int(one.replace(",", "")) for one in re.findall(r"([\d,]+) (?:labelled|at most)", known))
    assert likely < most < int(re.findall(r"([\d,]+) at most", blind)[0].replace(",", "")), (
        "95 % right vary less than half"
    )
    assert again == agreed, "nobody agrees to a figure of the moment"


def test_what_clients_stick_by_is_what_routes_have(tested):
    from mlops_tui.deploy import traffic

    tested.begin(sticky="field:customer_id")
    assert tested.house.read(lambda s: traffic.current(s, tested.id)).split.sticky == "field:customer_id"


def test_exposures_and_labels_are_counted_from_the_moment_the_servers_share(tested):
    tested.answer(tested.id, 2, [0.9] * 40)
    tested.call("ab.start", deployment="census", a="census@1", b="census@3")
    tested.answer(tested.id, 2, [0.9] * 50)
    assert [arm.exposures for arm in status(tested).arms] == [0, 0]
    tested.servers(tested.id)
    a, b = tested.answer(tested.id, 2, [0.9] * 60, rows=2), tested.answer(tested.id, 3, [0.9] * 20)
    tested.label(tested.id, a, [1] * 25 + [0] * 5, row=0)
    tested.label(tested.id, b[:10], [1] * 10)
    tested.evidence()
    first, second = status(tested).arms
    assert (first.exposures, first.n, first.mean) == (30, 30, pytest.approx(25 / 30))
    assert (second.exposures, second.n, second.mean) == (20, 10, 1.0)
    tested.label(tested.id, b[10:], [0] * 10)
    tested.label(tested.id, b[:10], [0] * 10)
    tested.evidence()
    assert (status(tested).arms[1].n, status(tested).arms[1].mean) == (20, 0.5), "late, and once each"


def test_a_failure_belongs_to_the_arm_that_failed(tested):
    tested.begin()
    ids = tested.answer(tested.id, 3, [0.9] * 4, status=2)
    tested.answer(tested.id, 2, [0.9] * 4, status=3, ids=ids)
    tested.label(tested.id, ids, [1] * 4)
    tested.fail(tested.id, 3, 2)
    tested.evidence()
    assert [(arm.exposures, arm.n) for arm in status(tested).arms] == [(0, 0), (6, 0)]


def send(stage, n, right_a, right_b, share=0.5):
    arms = np.where(stage.rng.random(n) < share, 3, 2)
    for no, right in ((2, right_a), (3, right_b)):
        count = int((arms == no).sum())
        stage.judged(stage.id, no, count, int((stage.rng.random(count) >= right).sum()))
    stage.evidence()


def test_rows_of_a_request_are_one_unit_as_they_went_to_one_arm(tested):
    tested.begin()
    ids = tested.answer(tested.id, 3, [0.9] * 8, rows=4)
    for row, truths in enumerate([(1, 1), (1, 0), (0, 0), (0, 1)]):
        tested.label(tested.id, ids, truths, row=row)
    tested.evidence()
    second = status(tested).arms[1]
    assert (second.exposures, second.n, second.mean) == (2, 2, 0.5)


def test_where_clients_stick_they_are_what_is_counted(tested):
    tested.begin(sticky="X-User")
    tested.servers(tested.id)
    ids = tested.answer(tested.id, 2, [0.9] * 6, clients=[7, 7, 7, 8, 0, 0])
    tested.answer(tested.id, 3, [0.9] * 3, clients=[9, 9, 9])
    tested.label(tested.id, ids, [1, 0, 0, 1, 1, 0])
    tested.evidence()
    first, second = status(tested).arms
    assert (first.exposures, first.n, first.mean) == (4, 4, pytest.approx((1 / 3 + 1 + 1 + 0) / 4))
    assert (second.exposures, second.n) == (1, 0)


def test_a_few_clients_whom_an_arm_got_by_chance_are_no_winner(tested):
    """Ten of a hundred clients are served badly by either version and ask most; A happened to get eight of them."""
    tested.begin(sticky="X-User", margin=0.02)
    hard = {2: range(1, 9), 3: range(51, 53)}
    for no, base in ((2, 1), (3, 51)):
        for client in range(base, base + 50):
            n = 40 if client in hard[no] else 4
            ids = tested.answer(tested.id, no, [0.9] * n, clients=[client] * n)
            tested.label(tested.id, ids, [0 if client in hard[no] else 1] * n)
    tested.evidence()
    engine.turn(tested.house)
    shown = status(tested)
    assert [arm.n for arm in shown.arms] == [50, 50] and shown.verdict == "needs_more_data"


def test_looks_are_kept_when_something_came_and_lead_to_a_verdict(tested):
    tested.begin(margin=0.02)
    verdicts = []
    for _ in range(12):
        send(tested, 800, 0.7, 0.85)
        engine.turn(tested.house)
        engine.turn(tested.house)
        verdicts.append(tested.call("ab.list").rows[0][4])
        if verdicts[-1] == "b_better":
            break
    assert verdicts[-1] == "b_better"
    shown = status(tested)
    assert tested.value("SELECT count(*) FROM abtest_look") == len(verdicts) == len(shown.looks)
    assert [look[0] for look in shown.looks] == [800.0 * (n + 1) for n in range(len(verdicts))]
    assert shown.low > 0 and shown.p_value < 0.05 and shown.srm_p > 0.01 and shown.needed is None
    exact = dict(
        tested.rows("SELECT revision_no, avg(((score >= 0.5) = (truth >= 0.5))::INTEGER) FROM outcome GROUP BY 1")
    )
    assert shown.difference == pytest.approx(exact[3] - exact[2])
    row = dict(zip([c.name for c in tested.call("ab.list").columns], tested.call("ab.list").rows[0], strict=True))
    assert (row["difference"], row["low"], row["n"]) == (shown.difference, shown.low, 800 * len(verdicts))
    chain = tested.rows("SELECT outcome FROM audit WHERE action = 'ab.verdict'")
    assert ("b_better",) in chain


def test_two_equal_arms_reach_no_verdict_at_any_of_many_looks(tested):
    tested.begin(margin=0.001)
    for _ in range(15):
        send(tested, 300, 0.8, 0.8)
        engine.turn(tested.house)
        assert tested.value("SELECT verdict FROM abtest") == "needs_more_data"
    assert status(tested).needed > 0


def test_a_broken_split_is_said_and_no_winner_is_named(tested):
    tested.begin(split=50.0)
    send(tested, 2000, 0.6, 0.9, share=0.3)
    engine.turn(tested.house)
    shown = status(tested)
    assert shown.verdict == "invalid_split" and shown.srm_p < 0.01 and "mend the assignment" in shown.text


def test_a_stop_gives_the_traffic_back_to_what_was_stable_before(tested):
    tested.begin()
    send(tested, 400, 0.7, 0.7)
    done = tested.call("ab.stop", test="census")
    assert "v2 takes all traffic" in done.text and "needs more data" in done.text
    assert tested.split(tested.id) == {1: ("stable", 100.0)}, "revision 1 is version 2"
    shown = status(tested)
    assert shown.state == "stopped" and shown.ended and len(shown.looks) == 1
    tested.judged(tested.id, 2, 50, 0)
    tested.evidence()
    assert sum(arm.n for arm in status(tested).arms) == 400, "what came after the end does not count"
    with pytest.raises(Conflict, match="stopped already"):
        tested.call("ab.stop", test="census")
    tested.servers(tested.id)
    tested.begin()


def test_a_stop_without_news_keeps_no_look_twice(tested):
    tested.begin()
    send(tested, 400, 0.7, 0.7)
    engine.turn(tested.house)
    tested.call("ab.stop", test="census")
    assert tested.value("SELECT count(*) FROM abtest_look") == 1


def test_a_removed_deployment_ends_its_test(tested):
    tested.begin(name="one")
    tested.call("deploy.remove", deployment="census")
    engine.turn(tested.house)
    assert tested.call("ab.status", test="one").state == "stopped"


def test_servers_that_refuse_an_arm_end_the_test(tested, monkeypatch):
    tested.begin()
    monkeypatch.setattr(engine, "refusal", lambda house, deployment: "it is no model")
    engine.turn(tested.house)
    assert status(tested).state == "stopped"
    assert tested.split(tested.id) == {1: ("stable", 100.0)}
    text = tested.value("SELECT text FROM event WHERE topic = 'ab' AND action = 'stopped'")
    assert "the servers refuse the split: it is no model" in text


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"b": "census@1"}, BadInput, "the same version"),
        ({"metric": "revenue"}, BadInput, "revenue"),
        ({"b": "census@9"}, NotFound, "no version 9"),
        ({"b": "forest@1"}, Refused, "it is json"),
        ({"deployment": "moon"}, NotFound, "moon"),
    ],
)
def test_what_cannot_be_compared_is_refused(tested, options, error, says):
    tested.model("forest", form="json")
    body = {"deployment": "census", "a": "census@1", "b": "census@3", **options}
    with pytest.raises(error, match=says):
        tested.call("ab.start", **body)


def test_one_test_at_a_time_and_tests_are_found_by_name_id_or_deployment(tested):
    made = tested.begin(name="one")
    with pytest.raises(Conflict, match="an A/B test runs on census"):
        tested.begin()
    for typed in ("one", "census", made.id, made.id[-8:]):
        assert tested.call("ab.status", test=typed).id == made.id
    with pytest.raises(NotFound, match="no A/B test 'two'"):
        tested.call("ab.status", test="two")


def test_the_clock_of_the_servers_decides_what_belongs_to_the_test(tested):
    tested.begin()
    tested.answer(tested.id, 2, [0.9] * 10, at=now_us() - 60 * SECOND)
    assert status(tested).arms[0].exposures == 0
