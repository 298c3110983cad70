"""What ``mlops serve`` and a bundle take of a profile and a fallback."""

from __future__ import annotations

from mlops_tui.contracts.operation import find


def planned(stage, operation, **request):
    import msgspec

    from mlops_tui.core.ids import uuid7
    from mlops_tui.door.context import Caller, act
    from mlops_tui.door.registry import IMPLEMENTATIONS

    body = msgspec.convert(request, find(operation).request)
    caller = Caller("alice", 1000, request_id=uuid7())
    return act(stage.house, caller, lambda ctx: IMPLEMENTATIONS[operation].plan(ctx, body))


def test_a_bundle_carries_the_fallback(stage, tmp_path):
    stage.model(versions=2)
    stage.serve()
    stage.call("deploy.fallback", deployment="census", revision="census@2", timeout_ms=50.0)
    body = planned(stage, "deploy.bundle", name="census", folder=str(tmp_path / "out")).data
    assert [(one["label"], one["weight"], one["role"]) for one in body["revisions"]] == [
        ("v1", 100.0, "stable"), ("v2", 0.0, "fallback"),
    ]  # fmt: skip
    assert body["fallback"] == body["revisions"][1]["id"] and body["rescue"]["timeout_s"] == 0.05
