"""Lineage: where a thing came from, and what came of it, walked along the links of the store.

A link's source came from its destination: ``model_version → run → dataset_version → dataset_version``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mlops_tui.contracts import model as contract
from mlops_tui.core.errors import NotFound
from mlops_tui.data.versions import resolve as resolve_data
from mlops_tui.door import Context, implements
from mlops_tui.door.lookup import by_name_or_id
from mlops_tui.registry.versions import resolve_version
from mlops_tui.store.session import Session
from mlops_tui.tracking.runs.find import find_run

MAX_NODES = 1000
_NAMES = {
    "run": "SELECT id, name FROM run",
    "job": "SELECT id, name FROM job",
    "deployment": "SELECT id, name FROM deployment",
    "logged": "SELECT id, name FROM logged_model",
    "dataset_version": """SELECT v.id, 'data:' || d.name || '@' || v.version
                          FROM dataset_version v JOIN dataset d ON d.id = v.dataset_id""",
    "model_version": "SELECT v.id, m.name || '@' || v.version FROM model_version v JOIN model m ON m.id = v.model_id",
}


class Step(NamedTuple):
    """How a node was reached: from which one, over which relation, in how many steps."""

    id: str
    relation: str
    of: str
    depth: int


@implements(contract.lineage)
def show(ctx: Context, request: contract.Lineage) -> contract.LineageGraph:
    """Walk the lineage of one thing, nearest first."""
    steps = walk(ctx.session, _begin(ctx, request.subject), down=request.down)
    names = _names(ctx.session, [step.id for step in steps])
    return contract.LineageGraph(
        nodes=[
            contract.LineageNode(
                id=step.id,
                kind=step.id.partition(":")[0],
                name=names.get(step.id, step.id.partition(":")[2]),
                depth=step.depth,
                relation=step.relation,
                of=step.of,
            )
            for step in steps
        ]
    )


def walk(session: Session, start: str, *, down: bool = False) -> list[Step]:
    """Return what is reached from a node, in breadth-first order, each node once; a cycle ends where it closes.

    Args:
        session: where the links are.
        start: ``kind:id``.
        down: what came of it, instead of where it came from.
    """
    near, far = ("dst", "src") if down else ("src", "dst")
    steps = [Step(start, "", "", 0)]
    seen, front = {start}, [start]
    while front and len(steps) < MAX_NODES:
        edges = session.rows(
            f"SELECT {near}, rel, {far} FROM link WHERE {near} IN (SELECT unnest(?)) ORDER BY ts, {far}", [front]
        )
        depth, front = steps[-1].depth + 1, []
        for of, relation, found in edges:
            if found not in seen and len(steps) < MAX_NODES:
                seen.add(found)
                front.append(found)
                steps.append(Step(found, relation, of, depth))
    return steps


def _begin(ctx: Context, subject: str) -> str:
    """Return the node that a person means: data:NAME@v, model@version, job:ID, a run, or at last a model's name."""
    session, tenant = ctx.session, ctx.tenant
    kind, colon, rest = subject.strip().partition(":")
    if colon and kind in ("data", "dataset_version"):
        return f"dataset_version:{resolve_data(session, tenant, rest)['id']}"
    if colon and kind in ("job", "deployment"):
        return f"{kind}:{by_name_or_id(session, kind, kind, rest, tenant, newest='created')['id']}"
    if "@" in subject or (colon and kind in ("model", "model_version")):
        return f"model_version:{resolve_version(session, tenant, rest if colon else subject)['id']}"
    try:
        return f"run:{find_run(session, tenant, subject)['id']}"
    except NotFound as error:
        try:
            return f"model_version:{resolve_version(session, tenant, subject)['id']}"
        except NotFound:
            raise NotFound(
                f"there is no run and no model {subject!r}",
                "",
                "mlops lineage show employment@1, data:census@1 or a run",
            ) from error


def _names(session: Session, nodes: Sequence[str]) -> dict[str, str]:
    """Return what people call each node, by node; those of unknown kinds are left out."""
    found: dict[str, str] = {}
    for kind, sql in _NAMES.items():
        ids = [node.partition(":")[2] for node in nodes if node.startswith(f"{kind}:")]
        if ids:
            column = "v.id" if " v " in sql or sql.endswith(" v") else "id"
            rows = session.rows(f"{sql} WHERE {column} IN (SELECT unnest(?))", [ids])
            found.update({f"{kind}:{identifier}": name for identifier, name in rows})
    return found
