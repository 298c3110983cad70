"""The audit trail over real changes: chained, signed, exported, and found out when somebody tampers with it."""

from __future__ import annotations

import errno
import os

import msgspec
import pytest

from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.core.errors import BadInput, NotAllowed, NotFound
from mlops_tui.governance import audit, chain


@pytest.fixture
def trail(call):
    """A home with four records: three roles given by amal, and one that noor was refused."""
    call("amal", "identity.create", reason="I own this", name="amal", role="admin")
    call("amal", "identity.create", name="noor", role="viewer")
    call("amal", "identity.create", name="zed", role="engineer")
    with pytest.raises(NotAllowed):
        call("noor", "identity.create", reason="please", name="noor", role="admin")
    return call


def verdict(call):
    return call("amal", "audit.verify")


def tamper(house, sql):
    house.store.write(lambda session: session.execute(sql))


def test_every_change_is_chained_with_who_what_and_why(trail):
    first, second = (trail("amal", "audit.show", seq=seq) for seq in (1, 2))
    assert (first.actor, first.action, first.object, first.outcome) == (
        "amal",
        "identity.create",
        "identity:amal",
        "done",
    )
    assert first.reason == "I own this" and first.prev == chain.GENESIS and second.prev == first.hash
    assert first.detail["changes"] == [{"object": "identity:amal", "field": "role", "before": None, "after": "admin"}]
    assert len(first.detail["plan"]) == 64 and first.detail["text"] == "amal becomes admin"
    found = verdict(trail)
    assert (found.ok, found.records, found.first_broken, found.checkpoints) == (True, 4, None, 0)
    with pytest.raises(NotFound, match="no audit record 99"):
        trail("amal", "audit.show", seq=99)


def test_a_refusal_is_written_down_with_its_object(trail):
    refused = trail("amal", "audit.show", seq=4)
    assert (refused.actor, refused.outcome, refused.object) == ("noor", "refused", "identity:noor")
    assert refused.reason == "please" and "noor may not identity write" in refused.detail["text"]
    assert trail("amal", "audit.list", filter="outcome:refused").total == 1


def test_a_look_and_a_dry_run_leave_no_record(trail):
    trail("amal", "identity.list")
    trail("amal", "identity.create", dry_run=True, name="new", role="viewer")
    assert verdict(trail).records == 4


def test_a_failed_change_leaves_nothing(trail):
    with pytest.raises(BadInput):
        trail("amal", "identity.create", name="noor", role="king")
    assert verdict(trail).records == 4


@pytest.mark.parametrize(
    ("sql", "where"),
    [
        ("UPDATE audit SET actor = 'zed' WHERE seq = 2", 2),
        ("UPDATE audit SET detail = replace(detail, 'engineer', 'admin') WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("UPDATE audit SET hash = repeat('0', 64) WHERE seq = 3", 3),
        ("UPDATE audit SET ts = ts + INTERVAL 1 SECOND WHERE seq = 1", 1),
    ],
)
def test_a_tampered_record_is_found(trail, house, sql, where):
    tamper(house, sql)
    found = verdict(trail)
    assert (found.ok, found.first_broken) == (False, where)
    assert f"breaks at record {where}" in found.text


def test_records_cut_off_at_the_end_are_missed_by_the_checkpoint(trail, house):
    audit.sign(house)
    tamper(house, "DELETE FROM audit WHERE seq = 4")
    found = verdict(trail)
    assert not found.ok and "a checkpoint was signed over 4" in found.text


def test_a_chain_rewritten_by_a_careful_forger_contradicts_the_checkpoint(trail, house):
    audit.sign(house)

    def rewrite(session):
        prev = chain.GENESIS
        for record, _ in list(audit.records(session)):
            forged = msgspec.structs.replace(record, actor="somebody else", prev=prev)
            session.execute("DELETE FROM audit WHERE seq = ?", [record.seq])
            fields = msgspec.to_builtins(forged)
            prev = chain.link(prev, forged)
            session.insert("audit", ts_us=fields.pop("ts"), hash=prev, **fields)

    house.store.write(rewrite)
    found = verdict(trail)
    assert not found.ok and "rewritten" in found.text


def test_a_checkpoint_of_another_key_is_a_stranger_s(trail, house):
    audit.sign(house)
    tamper(house, "UPDATE audit_checkpoint SET signature = repeat('00', 64)")
    assert "was not signed by the key of this chain" in verdict(trail).text


def checkpoints(house):
    return house.read(lambda session: session.rows("SELECT seq, root, peaks FROM audit_checkpoint ORDER BY seq"))


def test_checkpoints_are_signed_when_due(trail, house):
    audit.sign_when_due(house)
    assert [row[0] for row in checkpoints(house)] == [4]  # the first is a minute late at once
    trail("amal", "identity.create", name="noor", role="engineer")
    audit.sign_when_due(house)
    assert [row[0] for row in checkpoints(house)] == [4]  # one record, and not a minute ago
    for _ in range(chain.CHECKPOINT_EVERY - 1):
        trail("amal", "identity.create", name="noor", role="engineer")
    audit.sign_when_due(house)
    assert [row[0] for row in checkpoints(house)] == [4, 4 + chain.CHECKPOINT_EVERY]
    audit.sign_when_due(house)
    audit.sign(house)
    assert len(checkpoints(house)) == 2  # nothing new, nothing signed
    found = verdict(trail)
    assert (found.ok, found.checkpoints) == (True, 2)


def test_a_minute_after_the_last_checkpoint_one_record_is_enough(trail, house):
    audit.sign(house)
    late = now_us() - (chain.CHECKPOINT_SECONDS + 1) * SECOND
    house.store.write(lambda s: s.execute("UPDATE audit_checkpoint SET ts = make_timestamp(?)", [late]))
    trail("amal", "identity.create", name="noor", role="engineer")
    audit.sign_when_due(house)
    assert [row[0] for row in checkpoints(house)] == [4, 5]


@pytest.mark.parametrize("peaks", ["nonsense", "", "0" * 64, "00" * 32 + " " + "11" * 32])
def test_a_checkpoint_goes_on_from_the_last_and_survives_spoilt_peaks(trail, house, peaks):
    audit.sign(house)
    trail("amal", "identity.create", name="noor", role="engineer")
    tamper(house, f"UPDATE audit_checkpoint SET peaks = '{peaks}'")
    audit.sign(house)
    tree = chain.Tree()
    for stored in house.read(lambda session: session.column("SELECT hash FROM audit ORDER BY seq")):
        tree.append(stored)
    assert checkpoints(house)[-1] == (5, tree.root(), " ".join(tree.peaks))
    trail("amal", "identity.create", name="noor", role="viewer")
    audit.sign(house)
    found = verdict(trail)
    assert (found.ok, found.checkpoints) == (True, 3)


def test_an_export_proves_all_of_itself(trail, house):
    path = house.home.data / "audit.jsonl"
    done = trail("amal", "audit.export", path="audit.jsonl")
    assert done.text == "export 4 audit records" and path.stat().st_mode & 0o777 == 0o600
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    signed = [msgspec.convert(line["checkpoint"], chain.Checkpoint) for line in lines if "checkpoint" in line]
    rows = [(msgspec.convert({**line, "hash": None}, chain.Record), line["hash"]) for line in lines if "hash" in line]
    found = chain.verify(rows, signed, audit.public_key(house))
    assert (found.ok, found.count, found.checkpoints) == (True, 4, 1)
    assert verdict(trail).records == 5  # the export itself


def test_an_export_takes_no_place_that_is_taken(trail, house):
    (house.home.data / "there").write_text("mine")
    with pytest.raises(BadInput, match="cannot write") as caught:
        trail("amal", "audit.export", path="there")
    assert caught.value.why == "it exists already"
    with pytest.raises(BadInput) as caught:
        trail("amal", "audit.export", path="no/such/folder.jsonl")
    assert caught.value.why == "its folder does not exist"
    assert (house.home.data / "there").read_text() == "mine"


def test_an_export_goes_onto_a_disk_without_links(trail, house, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    trail("amal", "audit.export", path="audit.jsonl")
    assert len((house.home.data / "audit.jsonl").read_bytes().splitlines()) == 5
    assert [name for name in os.listdir(house.home.data) if "audit.jsonl" in name] == ["audit.jsonl"]


def test_an_export_does_not_replace_what_came_meanwhile(trail, house, monkeypatch):
    path, link = house.home.data / "audit.jsonl", os.link

    def meanwhile(source, target):
        path.write_text("mine")
        link(source, target)

    monkeypatch.setattr(os, "link", meanwhile)
    with pytest.raises(BadInput, match="cannot write"):
        trail("amal", "audit.export", path="audit.jsonl")
    assert path.read_text() == "mine"


def test_an_export_that_fails_half_way_leaves_nothing(trail, house, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="cannot write") as caught:
        trail("amal", "audit.export", path="audit.jsonl")
    monkeypatch.undo()
    assert caught.value.why == "No space left on device"
    assert not [name for name in os.listdir(house.home.data) if "audit.jsonl" in name]
    assert verdict(trail).records == 4


def test_events_are_listed_newest_first(trail):
    table = trail("amal", "event.list", limit=2)
    assert table.total == 3
    texts = [dict(zip([column.name for column in table.columns], row, strict=True))["text"] for row in table.rows]
    assert texts == ["zed becomes engineer", "noor becomes viewer"]
    assert trail("amal", "event.list", filter="topic:identity text~noor").total == 1
    assert trail("amal", "event.list", tenant="acme").total == 0


def test_cost_has_hours_and_only_prices_that_were_set(trail, house, monkeypatch):
    base = {"tenant": "default", "status": "done", "spec": "{}", "attempt": 1, "retries": 0, "host": "", "boot": ""}

    def jobs(session):
        for name, cpu, gpu, ended in (("big", 7200.0, 3600.0, now_us()), ("old", 99.0, 0.0, 1)):
            session.insert(
                "job",
                id=name,
                name=name,
                kind="train",
                actor="amal",
                cpu_s=cpu,
                gpu_s=gpu,
                created_us=1,
                ended_us=ended,
                **base,
            )

    house.store.write(jobs)
    shown = trail("amal", "cost.show")
    assert [(one.owner, one.cpu_hours, one.gpu_hours, one.amount) for one in shown.lines] == [("big", 2.0, 1.0, None)]
    assert not shown.priced
    monkeypatch.setenv("MLOPS_COST_GPU_HOUR", "4")
    from mlops_tui.core.config import load

    house.config = load(where=house.home)
    shown = trail("amal", "cost.show")
    assert shown.priced and shown.lines[0].amount == 4.0
