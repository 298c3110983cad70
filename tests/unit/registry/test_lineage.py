"""Lineage, both ways, from every kind of beginning."""

from __future__ import annotations

import pytest

from mlops_tui.core.errors import NotFound
from mlops_tui.registry.lineage import MAX_NODES, walk


@pytest.fixture
def graph(desk):
    """census@1 → train-set@1 → run → employment@1."""

    def add(session):
        for n, name in enumerate(("census", "train-set")):
            session.insert("dataset", id=f"d{n}", tenant="default", name=name, created_us=1, actor="a")
            session.insert(
                "dataset_version", id=f"v{n}", dataset_id=f"d{n}", version=1, digest=f"x{n}", size=1, n_rows=1,
                format="csv", origin="", columns="[]", profile="{}", parent="", residency="", classification="",
                created_us=1, actor="a", made_by="",
            )  # fmt: skip
        session.insert("link", src="dataset_version:v1", rel="made_from", dst="dataset_version:v0", ts_us=1)

    desk.house.store.write(add)
    desk.train("train-v1", data="train-set@1")
    desk.version = desk.register("train-v1").id
    return desk


def told(desk, subject, down=False):
    return [(one.depth, one.relation, one.name) for one in desk.call("lineage.show", subject=subject, down=down).nodes]


def test_up_from_a_model_to_the_raw_data(graph):
    expected = [
        (0, "", "employment@1"),
        (1, "made_by", "train-v1"),
        (2, "used", "data:train-set@1"),
        (3, "made_from", "data:census@1"),
    ]
    for subject in ("employment@1", "model:employment@1", "employment"):
        assert told(graph, subject) == expected
    nodes = graph.call("lineage.show", subject="employment@1").nodes
    assert [one.of for one in nodes] == ["", *(one.id for one in nodes[:-1])]
    assert [one.kind for one in nodes] == ["model_version", "run", "dataset_version", "dataset_version"]


def test_down_from_the_raw_data_to_the_model(graph):
    assert told(graph, "data:census@1", down=True) == [
        (0, "", "data:census@1"),
        (1, "made_from", "data:train-set@1"),
        (2, "used", "train-v1"),
        (3, "made_by", "employment@1"),
    ]


def test_from_a_run_either_way(graph):
    assert [name for _, _, name in told(graph, "train-v1")] == ["train-v1", "data:train-set@1", "data:census@1"]
    assert [name for _, _, name in told(graph, "run:train-v1", down=True)] == ["train-v1", "employment@1"]


def test_what_nobody_knows_is_told(graph):
    for wrong in ("nothing", "employment@9", "data:nothing@1", "job:nothing"):
        with pytest.raises(NotFound):
            graph.call("lineage.show", subject=wrong)


def test_a_cycle_and_a_diamond_end(graph):
    def tie(session):
        session.insert("link", src="dataset_version:v0", rel="made_from", dst="dataset_version:v1", ts_us=2)
        session.insert("link", src="dataset_version:v0", rel="made_from", dst="dataset_version:v0", ts_us=2)
        session.insert("link", src=f"model_version:{graph.version}", rel="used", dst="dataset_version:v0", ts_us=2)

    graph.house.store.write(tie)
    names = [name for _, _, name in told(graph, "employment@1")]
    assert sorted(names) == sorted(set(names)) and len(names) == 4
    assert (1, "used", "data:census@1") in told(graph, "employment@1"), "the nearest way counts"


def test_a_huge_graph_is_cut(graph):
    many = [f"feature:f{n}" for n in range(3 * MAX_NODES)]
    graph.house.store.write(
        lambda s: s.insert_columns(
            "link",
            {
                "src": ["dataset_version:v0"] * len(many),
                "rel": ["used"] * len(many),
                "dst": many,
                "ts_us": [1] * len(many),
            },
        )
    )
    steps = graph.house.read(lambda session: walk(session, "dataset_version:v0"))
    assert len(steps) == MAX_NODES
    assert graph.call("lineage.show", subject="data:census@1").nodes[1].name == "f0"
