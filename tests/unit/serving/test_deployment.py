from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.serving.deployment import Routes, fence, read_deployment, read_routes, read_state, write_port

REVISION = {"id": "a", "no": 1, "label": "v1", "weight": 100.0, "role": "stable", "model": {"digest": "d", "file": "f"}}


def routes(folder: Path, **change: Any) -> Routes:
    whole = {"epoch": 1, "generation": 2, "revisions": [REVISION], **change}
    (folder / "routes.json").write_text(json.dumps(whole))
    return read_routes(folder)


def test_routes_as_the_deploy_room_writes_them(tmp_path: Path) -> None:
    canary = {**REVISION, "id": "b", "no": 2, "role": "canary", "model": {"digest": "e", "file": "g", "wrapped": "k"}}
    found = routes(
        tmp_path, revisions=[REVISION, canary], sticky=None, fallback="a", lease_until=5, lease_revert=[REVISION]
    )
    assert found.at == (1, 2) and [r.no for r in found.everyone] == [1, 2, 1]
    assert set(found.models) == {"d", "e"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"revisions": []}, "no revision would get any traffic"),
        ({"revisions": [{**REVISION, "weight": 0}]}, "no revision would get any traffic"),
        ({"revisions": [{**REVISION, "role": "shadow"}]}, "no revision would get any traffic"),
        ({"revisions": [{**REVISION, "weight": -1}]}, "not negative"),
        ({"revisions": [REVISION, {**REVISION, "no": 2}]}, "share"),
        ({"revisions": [REVISION, {**REVISION, "id": "b"}]}, "share"),
        ({"revisions": [{**REVISION, "no": 70_000}]}, "1 to 65535"),
        ({"fallback": "z"}, "fallback"),
        ({"lease_until": 5}, "lease"),
        ({"epoch": "one"}, "cannot read"),
    ],
)
def test_routes_that_cannot_be_served_are_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput) as caught:
        routes(tmp_path, **change)
    assert why in str(caught.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_routes(tmp_path)
    with pytest.raises(NotFound):
        read_deployment(tmp_path)
    for broken in ("{", '{"deployment": "d"}', '{"deployment":"d","name":"n","spool":"/s","workers":0}'):
        (tmp_path / "deployment.json").write_text(broken)
        with pytest.raises(BadInput):
            read_deployment(tmp_path)
    assert read_state(tmp_path) == {}
    (tmp_path / "state.json").write_text("[1")
    assert read_state(tmp_path) == {}


def test_the_port_is_written_back_and_the_rest_stays(tmp_path: Path) -> None:
    (tmp_path / "deployment.json").write_text('{"deployment":"d","name":"n","spool":"/s","port":0,"theirs":{"x":1}}')
    before = read_deployment(tmp_path)
    write_port(tmp_path, 4711)
    after = json.loads((tmp_path / "deployment.json").read_text())
    assert after["port"] == 4711 and after["theirs"] == {"x": 1}
    assert read_deployment(tmp_path).digest() == before.digest()
    assert msgspec.structs.replace(before, token="t").digest() != before.digest()


def test_the_data_plane_never_goes_back(tmp_path: Path) -> None:
    now = routes(tmp_path)
    assert fence(now, None, (-1, -1)) and fence(now, None, (1, 2)) and not fence(now, now, (1, 2))
    for older in ({"generation": 1}, {"epoch": 0, "generation": 9}):
        with pytest.raises(Conflict, match="older"):
            fence(routes(tmp_path, **older), now, (1, 2))
    for newer in ({"generation": 3}, {"epoch": 2, "generation": 0}):
        assert fence(routes(tmp_path, **newer), now, (1, 2))
    with pytest.raises(Conflict, match="same number"):
        fence(routes(tmp_path, sticky="x"), now, (1, 2))


def test_a_lease_is_renewed_under_its_number_but_not_after_its_end(tmp_path: Path) -> None:
    lease: dict[str, Any] = {"lease_until": 100, "lease_revert": [REVISION]}
    now, later = routes(tmp_path, **lease), routes(tmp_path, **{**lease, "lease_until": 200})
    assert fence(later, now, now.at) and not fence(now, now, now.at, reverted=True)
    with pytest.raises(Conflict, match="ran out"):
        fence(later, now, now.at, reverted=True)


def test_a_lease_lasts_no_longer_than_it_was_given_for_whatever_a_clock_says(tmp_path: Path) -> None:
    lease: dict[str, Any] = {"lease_until": 100_000_000, "lease_revert": [REVISION], "lease_s": 60.0}
    assert routes(tmp_path).left_s(0) == float("inf")
    assert [routes(tmp_path, **lease).left_s(now) for now in (0, 70_000_000, 130_000_000)] == [60.0, 30.0, -30.0]
