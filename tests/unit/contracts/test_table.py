"""The table of operations: everything that is declared is implemented, guarded, explained and reachable."""

from __future__ import annotations

import re

import msgspec
import pytest

import mlops_tui.contracts
from mlops_tui.agent.openapi import spec
from mlops_tui.agent.rooms import open_rooms
from mlops_tui.contracts.listing import List
from mlops_tui.contracts.operation import OPERATIONS, Answer, Effect, Kind, Plan, Request, Started, operation
from mlops_tui.core.errors import BadInput
from mlops_tui.door.perform import decode
from mlops_tui.door.registry import IMPLEMENTATIONS
from mlops_tui.governance.roles import roles_for
from mlops_tui.store.listing import LISTINGS

open_rooms()
EVERY = [pytest.param(one, id=one.name) for one in OPERATIONS.values()]


@pytest.mark.parametrize("one", EVERY)
def test_every_operation_is_implemented(one):
    code = IMPLEMENTATIONS[one.name]
    if one.effect is Effect.CHANGE:
        assert callable(code.plan) and callable(code.apply)
    else:
        assert callable(code)


@pytest.mark.parametrize("one", EVERY)
def test_every_operation_has_a_permission_that_some_role_grants(one):
    noun, verb = one.permission.split(":")
    assert noun and verb
    assert "admin" in roles_for(one.permission)
    if one.effect is Effect.CHANGE and one.name != "model.verify":
        assert "viewer" not in roles_for(one.permission)


@pytest.mark.parametrize("one", EVERY)
def test_every_operation_is_explained(one):
    assert re.fullmatch(r"[A-Z].*\.", one.help), one.help
    assert issubclass(one.request, Request) and issubclass(one.answer, Answer)
    assert one.request.__doc__ and one.answer.__doc__
    if one.kind is Kind.JOB:
        assert one.answer is Started and one.effect is Effect.CHANGE


@pytest.mark.parametrize("one", EVERY)
def test_whatever_people_call_has_an_example(one):
    """Whether the example is a command line of this operation: tests/unit/cli/test_words.py."""
    assert one.internal or one.example.startswith("mlops "), one.name


def test_nothing_is_implemented_that_is_not_declared():
    assert set(IMPLEMENTATIONS) == set(OPERATIONS)


@pytest.mark.parametrize("one", EVERY)
def test_requests_refuse_what_they_do_not_know(one):
    with pytest.raises(BadInput, match="cannot read its request") as caught:
        decode(one, b'{"surely_unknown": 1}')
    assert caught.value.fix == f"mlops spec {one.name}"
    with pytest.raises(BadInput):
        decode(one, b"{")


@pytest.mark.parametrize("one", EVERY)
def test_requests_do_not_change_and_name_their_positional_fields(one):
    fields = {field.name: field for field in msgspec.structs.fields(one.request)}
    assert set(one.request.positional) <= set(fields)
    assert one.request.__struct_config__.frozen and one.request.__struct_config__.forbid_unknown_fields


def test_the_constraints_of_a_contract_hold_at_the_door():
    found = OPERATIONS["data.add"]
    assert decode(found, b'{"name":"census","path":"a.csv"}').classification == "internal"
    for body in (b'{"name":"../x","path":"a"}', b'{"name":"x"}', b'{"name":"x","path":1}'):
        with pytest.raises(BadInput):
            decode(found, body)
    assert decode(OPERATIONS["audit.verify"], b"") == mlops_tui.contracts.Empty()


def test_every_list_has_its_source_and_its_columns():
    nouns = {one.noun for one in OPERATIONS.values() if issubclass(one.request, List)}
    assert nouns == set(LISTINGS)
    for noun in nouns:
        listing = LISTINGS[noun]
        assert [column.name for column in listing.columns] == list(listing.expressions)
        assert listing.sort.removeprefix("-") in listing.expressions


def test_the_openapi_document_has_every_operation():
    document = spec()
    assert set(document["paths"]) == {f"/op/{name}" for name in OPERATIONS}
    text = msgspec.json.encode(document).decode()
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert wanted and wanted <= set(document["components"]["schemas"])
    show = document["paths"]["/op/data.show"]["post"]
    assert show["x-permission"] == "data:read" and show["x-effect"] == "read"


def test_an_operation_is_declared_once():
    with pytest.raises(ValueError, match="twice"):
        operation("data.show", Request, Answer, help="Again.")


def test_a_plan_s_digest_covers_request_and_changes():
    first = Plan(operation="a.b", object="o", text="t").sealed(List(filter="x"))
    again = Plan(operation="a.b", object="o", text="t", data={"seen": 1}).sealed(List(filter="x"))
    other = Plan(operation="a.b", object="o", text="t").sealed(List(filter="y"))
    assert first.digest == again.digest != other.digest
