"""Operations and lists of monitors and drift."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from mlops_tui.contracts import monitor as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan, Started
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy import deployments, traffic
from mlops_tui.door import Context, implements
from mlops_tui.jobs import start_job
from mlops_tui.monitoring.reference import SCORE, monitor_of
from mlops_tui.monitoring.watch import window_counts
from mlops_tui.stats.profile import NumericProfile
from mlops_tui.store.listing import Listing, lists

HISTORY = 24
_NEWEST = (
    "(SELECT * FROM drift_result QUALIFY row_number() OVER (PARTITION BY monitor_id, feature ORDER BY ts DESC) = 1)"
)

lists(
    Listing(
        noun="monitor",
        source="monitor m JOIN deployment d ON d.id = m.deployment_id",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="deployment", label="deployment"),
            Column(name="reference", label="reference"),
            Column(name="judged", label="judged", kind="time"),
            Column(name="created", label="since", kind="time"),
            Column(name="actor", label="by"),
        ],
        expressions={
            "id": "m.id",
            "deployment": "d.name",
            "reference": "m.reference",
            "judged": "epoch_us(m.judged)",
            "created": "epoch_us(m.created)",
            "actor": "m.actor",
        },
        sort="deployment",
        tenant="m.tenant",
        where="m.removed IS NULL",
    )
)
lists(
    Listing(
        noun="drift",
        source=f"{_NEWEST} r JOIN monitor m ON m.id = r.monitor_id JOIN deployment d ON d.id = m.deployment_id",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="deployment", label="deployment"),
            Column(name="feature", label="feature"),
            Column(name="verdict", label="verdict", kind="status"),
            Column(name="psi", label="PSI", kind="float"),
            Column(name="js", label="JS", kind="float"),
            Column(name="ks", label="KS", kind="float"),
            Column(name="w1", label="W1/σ", kind="float"),
            Column(name="p_value", label="p", kind="float"),
            Column(name="n", label="rows", kind="int"),
            Column(name="ts", label="when", kind="time"),
            Column(name="history", label="history", kind="spark"),
        ],
        expressions={
            "id": "m.id || '/' || r.feature",
            "deployment": "d.name",
            "feature": "r.feature",
            "verdict": "r.verdict",
            "psi": "r.psi",
            "js": "r.js",
            "ks": "r.ks",
            "w1": "r.w1",
            "p_value": "r.p_value",
            "n": "r.n",
            "ts": "epoch_us(r.ts)",
            "history": f"(SELECT list(h.js ORDER BY h.ts)[-{HISTORY}:] FROM drift_result h WHERE h.monitor_id = r.monitor_id AND h.feature = r.feature)",
        },
        sort="-js",
        tenant="m.tenant",
        where="m.removed IS NULL",
    )
)


def _row(ctx: Context, deployment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    found = deployments.find(ctx.session, ctx.tenant, deployment)
    row = ctx.session.dict(
        "SELECT *, epoch_us(judged) AS judged_us FROM monitor WHERE deployment_id = ? AND removed IS NULL",
        [found["id"]],
    )
    if row is None:
        raise NotFound(f"nobody watches {found['name']}", "", f"mlops monitor add {found['name']}")
    return found, row


@implements(contract.monitor_add)
class AddMonitor:
    """Watch a deployment; a worker profiles the reference first."""

    def plan(self, ctx: Context, request: contract.AddMonitor) -> Plan:
        """Find the deployment and the run whose evaluation is the reference."""
        row = deployments.find(ctx.session, ctx.tenant, request.deployment)
        if ctx.session.value("SELECT count(*) FROM monitor WHERE deployment_id = ? AND removed IS NULL", [row["id"]]):
            raise Conflict(f"{row['name']} is watched already", "", f"mlops monitor remove {row['name']}")
        now = traffic.current(ctx.session, row["id"])
        stable = traffic.stable_no(now) if now else 1
        run = ctx.session.value(
            "SELECT v.run_id FROM revision r JOIN model_version v ON v.id = r.version_id WHERE r.deployment_id = ? AND r.no = ?",
            [row["id"], stable],
        )
        spec = msgspec.to_builtins(request)
        body = {"deployment": row["id"], "name": row["name"], "reference": request.reference, "run": run, "spec": spec}
        change = Change(object=f"deploy:{row['name']}", field="monitor", after=f"window {request.window_s:g} s")
        return Plan(
            operation="monitor.add",
            object=f"monitor:{row['name']}",
            text=f"watch {row['name']}",
            changes=[change],
            data=body,
        )

    def apply(self, ctx: Context, request: contract.AddMonitor, plan: Plan) -> Started:
        """Queue the worker."""
        job = start_job(
            ctx, kind="monitor.add", name=plan.data["name"], module="mlops_tui.monitoring.worker", request=plan.data
        )
        return Started(job=job, text=plan.text)


@implements(contract.monitor_commit)
class CommitMonitor:
    """Begin the watch with the frozen reference."""

    def plan(self, ctx: Context, request: contract.CommitMonitor) -> Plan:
        """Name the reference."""
        row = deployments.find(ctx.session, ctx.tenant, request.deployment)
        return Plan(
            operation="monitor.commit",
            object=f"monitor:{row['name']}",
            text=f"{row['name']} is watched against {request.reference}",
            data={"id": row["id"]},
        )

    def apply(self, ctx: Context, request: contract.CommitMonitor, plan: Plan) -> Done:
        """Insert it."""
        ctx.session.insert(
            "monitor", id=uuid7(), tenant=ctx.tenant, deployment_id=plan.data["id"], spec=msgspec.json.encode(request.spec).decode(),
            reference=request.reference, profiles=msgspec.json.encode(request.profiles).decode(), created_us=ctx.now, actor=ctx.caller.name,
        )  # fmt: skip
        ctx.emit("monitor", plan.data["id"], "added", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


@implements(contract.monitor_remove)
class RemoveMonitor:
    """Stop watching; what was judged stays."""

    def plan(self, ctx: Context, request: contract.OneMonitor) -> Plan:
        """Find the monitor."""
        found, row = _row(ctx, request.deployment)
        return Plan(
            operation="monitor.remove",
            object=f"monitor:{found['name']}",
            text=f"stop watching {found['name']}",
            data={"id": row["id"]},
        )

    def apply(self, ctx: Context, request: contract.OneMonitor, plan: Plan) -> Done:
        """End it."""
        ctx.session.execute("UPDATE monitor SET removed = make_timestamp(?) WHERE id = ?", [ctx.now, plan.data["id"]])
        ctx.emit("monitor", plan.data["id"], "removed", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


@implements(contract.drift_show)
def show(ctx: Context, request: contract.OneMonitor) -> contract.Drift:
    """Show the newest judgement of every feature, worst first."""
    found, row = _row(ctx, request.deployment)
    newest = ctx.session.dicts(
        f"SELECT *, epoch_us(ts) AS at FROM {_NEWEST} r WHERE monitor_id = ? ORDER BY js DESC NULLS LAST", [row["id"]]
    )
    histories = dict(
        ctx.session.rows(
            f"SELECT feature, list(js ORDER BY ts)[-{HISTORY}:] FROM drift_result WHERE monitor_id = ? GROUP BY feature",
            [row["id"]],
        )  # type: ignore[arg-type]
    )
    lines = [
        contract.DriftFeature(
            feature=one["feature"],
            kind="numeric",
            psi=one["psi"],
            js=one["js"],
            ks=one["ks"],
            w1=one["w1"],
            p_value=one["p_value"],
            n=one["n"],
            verdict=one["verdict"],
            method=one["method"],
            history=[value or 0.0 for value in histories.get(one["feature"], [])],
        )  # fmt: skip
        for one in newest
    ]
    quality = ctx.session.dicts(
        "SELECT epoch_us(ts) AS ts, n, accuracy, auc, coverage, estimated FROM quality_result WHERE monitor_id = ? ORDER BY quality_result.ts DESC LIMIT 60",
        [row["id"]],
    )
    features = [line for line in lines if line.feature != SCORE]
    order = ("drift", "warn", "ok", "too_few")
    verdict = next((one for one in order if any(line.verdict == one for line in lines)), "nodata")
    said = {
        "drift": f"{sum(line.verdict == 'drift' for line in features)} of {len(features)} features have drifted",
        "warn": "differences that may be chance",
        "ok": "no drift",
        "too_few": "too few rows to judge",
        "nodata": "no traffic yet",
    }
    monitor = monitor_of(row)
    model = ctx.session.value(
        "SELECT m.name FROM revision r JOIN model_version v ON v.id = r.version_id JOIN model m ON m.id = v.model_id WHERE r.deployment_id = ? LIMIT 1",
        [found["id"]],
    )
    return contract.Drift(
        deployment=found["name"], model=model or "", reference=row["reference"], window_s=monitor.spec.window_s, ts=row["judged_us"],
        rows=max((line.n for line in lines), default=0), verdict=verdict, text=said[verdict], features=features,
        score=next((line for line in lines if line.feature == SCORE), None), quality=[contract.QualityPoint(**one) for one in quality[::-1]],
    )  # fmt: skip


@implements(contract.drift_bins)
def bins(ctx: Context, request: contract.DriftBins) -> contract.Bins:
    """Compare one feature's histogram with its reference, in a few bins."""
    _, row = _row(ctx, request.deployment)
    monitor = monitor_of(row)
    one = monitor.reference.score if request.feature == SCORE else monitor.reference.features.get(request.feature)
    if one is None:
        raise NotFound(
            f"{request.deployment} has no feature {request.feature!r}", "", f"mlops drift show {request.deployment}"
        )
    live = window_counts(ctx.session, monitor, ctx.now).get(request.feature)
    reference = np.asarray(one.counts, dtype=np.int64)
    live = np.zeros(len(reference), np.int64) if live is None else live
    if not isinstance(one, NumericProfile):
        return _categories(request.feature, list(one.categories), reference, live, request.bins)
    cells = _coarse(reference[:-1], request.bins)
    edges = [one.edges[min(stop, len(one.edges)) - 1] for _, stop in cells]
    labels = [f"≤ {edge:.4g}" for edge in edges[:-1]] + [f"> {edges[-2]:.4g}" if len(edges) > 1 else "all"]
    return _shares(
        request.feature, labels, [_sum(reference, *cell) for cell in cells], [_sum(live, *cell) for cell in cells]
    )


def _coarse(reference: Any, wanted: int) -> list[tuple[int, int]]:
    """Return ranges of neighbouring cells with about equal shares of the reference."""
    total, cells, begin, held = max(1, int(reference.sum())), [], 0, 0
    for at, count in enumerate(reference.tolist()):
        held += count
        if held * wanted >= total * (len(cells) + 1) or at == len(reference) - 1:
            cells.append((begin, at + 1))
            begin = at + 1
    return cells


def _sum(counts: Any, start: int, stop: int) -> int:
    return int(counts[start:stop].sum())


def _categories(feature: str, names: list[str], reference: Any, live: Any, wanted: int) -> contract.Bins:
    shown = names[: wanted - 1]
    first = [int(reference[at]) for at in range(len(shown))], [int(live[at]) for at in range(len(shown))]
    return _shares(
        feature,
        [*shown, "other"],
        [*first[0], int(reference[len(shown) :].sum())],
        [*first[1], int(live[len(shown) :].sum())],
    )


def _shares(feature: str, labels: list[str], reference: list[int], live: list[int]) -> contract.Bins:
    n_reference, n_live = sum(reference), sum(live)
    return contract.Bins(
        feature=feature, labels=labels, reference=[one / max(1, n_reference) for one in reference], live=[one / max(1, n_live) for one in live],
        n_reference=n_reference, n_live=n_live,
    )  # fmt: skip
