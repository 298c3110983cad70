import hashlib
import json
import random
import time

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mlops_tui.core.errors import BadInput
from mlops_tui.core.jsonx import canonical
from mlops_tui.governance.chain import (
    GENESIS,
    Anchor,
    Record,
    Tree,
    detail_of,
    link,
    sign_checkpoint,
    verify,
    verify_checkpoint,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
HEAD = "ab" * 32


def chain(count, every=64):
    """Return rows and the checkpoints that were signed on the way."""
    rows, signed, tree, prev = [], [], Tree(), GENESIS
    for seq in range(1, count + 1):
        record = Record(
            action="model.promote",
            actor="amal",
            object=f"model/churn@{seq}",
            reason="better",
            seq=seq,
            ts=seq * 10,
            prev=prev,
        )
        prev = link(prev, record)
        tree.append(prev)
        rows.append((record, prev))
        if seq % every == 0:
            signed.append(sign_checkpoint(KEY, tree, prev, seq * 10))
    return rows, signed


def changed(rows, index, **fields):
    """Return the rows with one record changed, its stored hash left alone."""
    record, stored = rows[index]
    return [*rows[:index], (msgspec.structs.replace(record, **fields), stored), *rows[index + 1 :]]


def rewritten(rows, index, **fields):
    """Return the rows as a careful forger leaves them: one changed, every hash after it computed anew."""
    done = list(changed(rows, index, **fields))
    prev = done[index - 1][1] if index else GENESIS
    for at in range(index, len(done)):
        record = msgspec.structs.replace(done[at][0], prev=prev)
        prev = link(prev, record)
        done[at] = (record, prev)
    return done


def test_a_whole_chain_verifies_with_its_checkpoints():
    rows, signed = chain(200)
    verdict = verify(rows, signed, PUBLIC)
    assert (verdict.ok, verdict.count, verdict.checkpoints, verdict.first_broken, verdict.why) == (
        True,
        200,
        3,
        None,
        "",
    )
    assert verdict.hash == rows[-1][1]


def test_the_link_can_be_computed_by_hand_with_any_json_library():
    record = Record(action="a", actor="ü", object='"o"', seq=1, ts=5, detail='{"x":1}')
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert link(GENESIS, record) == hashlib.sha256(b"\x00" + text.encode()).hexdigest()
    assert list(fields) == sorted(fields), "fields out of order would not be canonical"


TEXTS = {name: st.text() for name in ("action", "actor", "reason", "detail")}


@given(st.builds(Record, **TEXTS, seq=st.integers(0, 2**63 - 1), ts=st.integers(-(2**62), 2**62)))
def test_the_fast_encoder_writes_canonical_json(record):
    assert msgspec.json.encode(record) == canonical(msgspec.structs.asdict(record))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_the_link_depends_on_the_record_before(a, b):
    record = Record(action="x", actor="y", seq=2, ts=3)
    assert (link(a.hex(), record) == link(b.hex(), record)) == (a == b)


@pytest.mark.parametrize(
    ("field", "value"),
    [("action", "x"), ("actor", "x"), ("detail", "{ }"), ("object", "x"), ("on_behalf_of", "x"), ("outcome", "refused"),
     ("reason", ""), ("request_id", "x"), ("tenant", "x"), ("ts", 1)],
)  # fmt: skip
def test_a_change_in_any_field_is_found_where_it_is(field, value):
    rows, _ = chain(10)
    verdict = verify(changed(rows, 6, **{field: value}))
    assert (verdict.ok, verdict.first_broken, verdict.count) == (False, 7, 6)
    assert "changed" in verdict.why


def test_removed_repeated_swapped_and_added_records_are_found():
    rows, _ = chain(10)
    for bad, where in [
        (rows[:4] + rows[5:], 5),
        (rows[:5] + rows[4:], 6),
        ([*rows[:4], rows[5], rows[4], *rows[6:]], 5),
        (rows[1:], 1),
        ([*rows, rows[0]], 11),
    ]:
        verdict = verify(bad)
        assert (verdict.ok, verdict.first_broken) == (False, where), verdict.why


def test_a_gap_or_a_loose_end_in_a_forged_chain_is_found():
    rows, _ = chain(10)
    gap = rewritten(rows[:4] + rows[5:], 4)
    assert (verify(gap).first_broken, "5 is missing" in verify(gap).why) == (5, True)
    loose = changed(rows, 4, prev=HEAD)
    loose[4] = (loose[4][0], link(HEAD, loose[4][0]))
    assert (verify(loose).first_broken, "does not follow" in verify(loose).why) == (5, True)


def test_an_empty_chain_is_whole():
    verdict = verify([])
    assert verdict.ok and verdict.count == 0 and verdict.hash == GENESIS


def test_a_chain_that_its_owner_rewrote_passes_alone_and_fails_against_a_checkpoint():
    rows, signed = chain(200)
    forged = rewritten(rows, 70, reason="nothing to see")
    assert verify(forged).ok, "that is why checkpoints must leave the machine"
    verdict = verify(forged, signed, PUBLIC)
    assert (verdict.ok, verdict.first_broken, verdict.count) == (False, 128, 127)
    assert "rewritten" in verdict.why


def test_a_cut_tail_fails_against_a_checkpoint():
    rows, signed = chain(200)
    verdict = verify(rows[:130], signed, PUBLIC)
    assert (verdict.ok, verdict.first_broken, verdict.count) == (False, 131, 130)
    assert "131 to 192 are missing" in verdict.why


def test_a_checkpoint_of_another_key_or_with_one_changed_field_fails():
    rows, signed = chain(64)
    good = signed[0]
    assert verify_checkpoint(good, PUBLIC)
    stranger = Ed25519PrivateKey.generate()
    forged = sign_checkpoint(stranger, Tree(64, ["00" * 32]), good.hash, good.ts)
    changes = {"seq": 63, "ts": 1, "hash": HEAD, "root": HEAD, "public_key": HEAD, "signature": "00" * 64}
    bad = [msgspec.structs.replace(good, **{field: value}) for field, value in [*changes.items(), ("signature", "zz")]]
    for checkpoint in [forged, *bad]:
        assert not verify_checkpoint(checkpoint, PUBLIC)
        assert not verify(rows, [checkpoint], PUBLIC).ok
    assert not verify(rows, [good], "").ok, "no key given, nothing vouched for"
    beyond = verify(rows, [msgspec.structs.replace(good, seq=900)], PUBLIC)
    assert "not signed" in beyond.why, "a checkpoint that nobody signed proves no missing records"


def test_every_checkpoint_of_one_record_counts():
    rows, signed = chain(64)
    again = sign_checkpoint(KEY, Tree(64, [signed[0].root]), signed[0].hash, 999)
    assert verify(rows, [signed[0], again], PUBLIC).checkpoints == 2
    lie = sign_checkpoint(KEY, Tree(64, [HEAD]), signed[0].hash, 999)
    assert not verify(rows, [signed[0], lie], PUBLIC).ok
    lie = sign_checkpoint(KEY, Tree(64, [signed[0].root]), HEAD, 999)
    assert not verify(rows, [signed[0], lie], PUBLIC).ok


def test_a_chain_cut_by_retention_goes_on_from_its_anchor():
    rows, signed = chain(300)
    tree = Tree()
    for _, stored in rows[:150]:
        tree.append(stored)
    anchor = Anchor(seq=150, hash=rows[149][1], peaks=tuple(tree.peaks))
    verdict = verify(rows[150:], signed, PUBLIC, anchor)
    assert (verdict.ok, verdict.count, verdict.checkpoints) == (True, 150, 4), verdict.why
    assert verdict.root == verify(rows).root
    assert not verify(rows[150:], signed, PUBLIC).ok
    assert not verify(rows[151:], signed, PUBLIC, anchor).ok
    stranger = msgspec.structs.replace(signed[0], ts=0)
    assert "not signed" in verify(rows[150:], [stranger], PUBLIC, anchor).why
    at_anchor = sign_checkpoint(KEY, tree, HEAD, 1500)
    assert "rewritten" in verify(rows[150:], [at_anchor], PUBLIC, anchor).why
    false = msgspec.structs.replace(anchor, peaks=(HEAD, *anchor.peaks[1:]))
    assert not verify(rows[150:], signed, PUBLIC, false).ok


def naive_root(leaves):
    """RFC 6962 §2.1 as it is written, recursion and all."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def test_the_tree_is_that_of_the_rfc():
    rng, tree, leaves = random.Random(1), Tree(), []
    assert tree.root() == naive_root([]).hex()
    for _ in range(70):
        leaves.append(rng.randbytes(32))
        tree.append(leaves[-1].hex())
        assert tree.root() == naive_root(leaves).hex()
        again = Tree(tree.size, tree.peaks)
        again.append("00" * 32)
        assert again.root() == naive_root([*leaves, bytes(32)]).hex()


def test_the_tree_gives_the_published_roots_of_certificate_transparency():
    data = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = {  # google/certificate-transparency, merkletree tests, "kSHA256Roots"
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    tree = Tree()
    for count, text in enumerate(data, 1):
        tree.append(hashlib.sha256(b"\x00" + bytes.fromhex(text)).hexdigest())
        if count in roots:
            assert tree.root() == roots[count]


def test_a_tree_needs_the_right_number_of_peaks():
    with pytest.raises(BadInput):
        Tree(3, ["00" * 32])


def test_details_are_canonical_and_small():
    assert detail_of({"b": 1, "a": {"d": None, "c": [1.5]}}) == '{"a":{"c":[1.5],"d":null},"b":1}'
    big = {"x": "y" * 500_000}
    assert json.loads(detail_of(big)) == {
        "bytes": len(canonical(big)),
        "sha256": hashlib.sha256(canonical(big)).hexdigest(),
    }
    assert detail_of({"note": "NaN is a word here"}) == '{"note":"NaN is a word here"}'
    for bad in ({"x": float("nan")}, {"x": float("-inf")}, {"x": object()}, {"x": "\ud800"}):
        with pytest.raises(BadInput):
            detail_of(bad)


def test_what_is_not_text_is_refused():
    with pytest.raises(BadInput):
        link(GENESIS, Record(action="x", actor="\udcff", seq=1, ts=1))
    for bad in ("", "00", "G" * 64, "A" * 64):
        with pytest.raises(BadInput):
            link(bad, Record(action="x", actor="y", seq=1, ts=1))


def test_a_hundred_thousand_records_verify_in_time():
    rows, signed = chain(100_000)
    begun = time.process_time()
    verdict = verify(rows, signed, PUBLIC)
    spent = time.process_time() - begun
    assert verdict.ok and verdict.count == 100_000 and verdict.checkpoints == 1562
    assert spent < 3, f"{spent:.2f} s of CPU (0.8 s on a quiet two-core machine)"
