"""Operations and list of deployments."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from mlops_tui.contracts import deploy as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.contracts.run import LogLines
from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.data.online_features import newest
from mlops_tui.deploy import fallback, traffic
from mlops_tui.deploy.find import find_deployment, labels_of, url_of
from mlops_tui.deploy.package import tuned
from mlops_tui.deploy.rollout import rollouts
from mlops_tui.deploy.rollout.evidence import Figures, quantile_ms
from mlops_tui.deploy.targets import targets
from mlops_tui.deploy.targets.servers import Servers
from mlops_tui.deploy.toggles import toggles
from mlops_tui.door import Context, implements, keeps_awake
from mlops_tui.registry.versions import label, refuse_unservable, resolve_version
from mlops_tui.serving.exposure import check as exposure_left
from mlops_tui.serving.exposure import is_loopback
from mlops_tui.serving.models import lookup
from mlops_tui.serving.models.session import POLICIES, PROVIDERS
from mlops_tui.serving.tls import tls_of
from mlops_tui.serving.transport.sockets import refuse_foreign
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

ENVIRONMENTS = ("local", "staging", "prod")
SERVING = (
    "threads", "provider", "provider_policy", "gpu_memory_mb", "python", "engines", "memory_mb", "load_s",
    "timeout_s",
    "features", "missing",
    "log_sample", "redact", "grpc_port", "traces",
)  # fmt: skip
"""Facts of a deployment that its servers alone need."""
_DEFAULTS = {
    field.name: field.default_factory() if callable(field.default_factory) else field.default
    for field in msgspec.structs.fields(contract.CreateDeployment)
}
_SHARES = """(
    SELECT string_agg(r.label || ' ' || round((s.share->>'weight')::DOUBLE)::INTEGER || ' %', '  ' ORDER BY r.no)
    FROM (SELECT unnest(json_extract(t.split, '$.shares[*]')) AS share FROM traffic_event t
          WHERE t.deployment_id = deployment.id QUALIFY row_number() OVER (ORDER BY t.seq DESC) = 1) s
    JOIN revision r ON r.deployment_id = deployment.id AND r.no = (s.share->>'no')::INTEGER)"""

_OFF = """(
    SELECT string_agg(coalesce('revision ' || nullif(json_extract_string(t.definition, '$.metadata.revision'), '')
                               || ' ', '') || 'switched off', ', ' ORDER BY t.key)
    FROM toggle t WHERE t.tenant = deployment.tenant
      AND json_extract_string(t.definition, '$.metadata.deployment') = deployment.name
      AND json_extract_string(t.definition, '$.metadata.controls') = 'answers'
      AND json_extract_string(t.definition, '$.state') = 'ENABLED' AND json_extract(t.definition, '$.targeting') IS NULL
      AND json_extract_string(json_extract(t.definition, '$.variants'),
                              json_extract_string(t.definition, '$.defaultVariant')) = 'false')"""

_KILLED = f"list_contains(string_split(coalesce({_OFF}, ''), ', '), 'switched off')"

_URL = """CASE WHEN port = 0 THEN '' ELSE
    CASE WHEN json_exists(facts, '$.tls') THEN 'https://' ELSE 'http://' END ||
    CASE WHEN contains(host, ':') THEN '[' || host || ']' ELSE host END || ':' || port END"""

lists(
    Listing(
        noun="deploy",
        source="deployment",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="status", label="status", kind="status"),
            Column(name="environment", label="env"),
            Column(name="target", label="target"),
            Column(name="split", label="traffic"),
            Column(name="created", label="created", kind="time"),
            Column(name="actor", label="by"),
            Column(name="url", label="address"),
            Column(name="text", label="why"),
        ],
        expressions={
            "id": "id",
            "name": "name",
            "status": f"CASE WHEN {_KILLED} THEN 'killed' ELSE status END",
            "environment": "environment",
            "target": "target",
            "split": _SHARES,
            "created": "epoch_us(created)",
            "actor": "actor",
            "url": _URL,
            "text": f"coalesce({_OFF}, text)",
        },
        sort="name",
        tenant="tenant",
        where="removed IS NULL",
    )
)


@keeps_awake
def _serves(session: Session) -> bool:
    return bool(session.value("SELECT count(*) > 0 FROM deployment WHERE status <> 'removed'"))


@implements(contract.create)
class CreateDeployment:
    """Serve a model version; the reconciler starts the servers."""

    def plan(self, ctx: Context, request: contract.CreateDeployment) -> Plan:
        """Find the version; check name, target and port."""
        _check_place(ctx, request)
        version = resolve_version(ctx.session, ctx.tenant, request.model)
        refuse_unservable(version)
        facts = _facts(request)
        if request.features and newest(ctx.session, ctx.tenant, request.features) is None:
            fix = f"mlops feature materialize {request.features} DATA"
            raise NotFound(f"the view {request.features} has no online features", "it was never materialised", fix)
        found, warnings = _tuned(ctx, request, version)
        facts |= _exposed(request, warnings)
        open_ = not is_loopback(request.host)
        as_tuned = f", tuned for {found.name}: {found.setting.name}" if found else ""
        return Plan(
            operation="deploy.create",
            object=f"deploy:{request.name}",
            text=f"serve {label(version)} as {request.name}{as_tuned}",
            changes=[
                Change(object=f"deploy:{request.name}", field="serves", after=label(version)),
                *([Change(object=f"deploy:{request.name}", field="host", after=request.host)] if open_ else []),
                *(Change(object=f"deploy:{request.name}", field=name, after=value) for name, value in facts.items()),
            ],
            warnings=warnings,
            data={"version": version, "facts": facts, "tuned": found},
        )

    def apply(self, ctx: Context, request: contract.CreateDeployment, plan: Plan) -> contract.Deployment:
        """Write the intent down."""
        identifier, found = uuid7(), plan.data["tuned"]
        ctx.session.insert(
            "deployment",
            id=identifier,
            tenant=ctx.tenant,
            name=request.name,
            target=request.target,
            environment=request.environment,
            host=request.host,
            port=request.port,
            workers=request.workers or (found.setting.workers if found else 1),
            facts=msgspec.json.encode(plan.data["facts"]).decode(),
            profile=request.profile,
            tuned=msgspec.json.encode(found.setting).decode() if found else "",
            status="starting",
            text="starting",
            boot="",
            acknowledged=0,
            created_us=ctx.now,
            actor=ctx.caller.name,
        )
        no = traffic.add_revision(ctx, identifier, plan.data["version"])
        traffic.shift(ctx, identifier, traffic.all_to(no), "create", ctx.caller.reason)
        ctx.emit("deploy", identifier, "created", plan.text, f"deploy:{request.name}")
        return shown(ctx, find_deployment(ctx.session, ctx.tenant, identifier))


def _exposed(request: contract.CreateDeployment, warnings: list[str]) -> dict[str, Any]:
    """Return the facts of whom a deployment lets in from where.

    Beyond loopback it asks for tokens before there are any, unless certificates say who asks, or something else does.

    Raises:
        BadInput: the TLS files cannot be used.
        Refused: it would be open, and nobody has said that it may be.
    """
    tls = tls_of(request.tls_cert, request.tls_key, request.tls_client_ca)
    asks = not request.insecure and tls is not None and tls.client_ca is None and not is_loopback(request.host)
    if open_ := exposure_left(request.host, tls, asks, request.insecure):
        warnings.append(open_)
    if asks:
        warnings.append(f"nobody may ask it until mlops token add {request.name} CLIENT")
    facts: dict[str, Any] = {"tls": msgspec.to_builtins(tls)} if tls is not None else {}
    return {**facts, "ask_token": True} if asks else facts


def _facts(request: contract.CreateDeployment) -> dict[str, Any]:
    """Return what a person wants otherwise than the servers do by default.

    Raises:
        BadInput: there is no such provider or policy, or the Python is none.
    """
    for name, known in (("provider", tuple(PROVIDERS)), ("provider_policy", POLICIES), ("missing", lookup.POLICIES)):
        if getattr(request, name) not in known:
            raise BadInput(
                f"there is no {name.replace('_', ' ')} {getattr(request, name)!r}", "", "one of: " + ", ".join(known)
            )
    if request.python and not os.access(request.python, os.X_OK):
        raise BadInput(f"{request.python} is no Python", "it cannot be run", "give the path of one")
    asked = {name: getattr(request, name) for name in SERVING}
    return {name: value for name, value in asked.items() if value != _DEFAULTS[name]}


def _tuned(
    ctx: Context, request: contract.CreateDeployment, version: dict[str, Any]
) -> tuple[tuned.Profile | None, list[str]]:
    """Return the profile that holds for a version where it is to be served, and what is to be said about it."""
    if request.profile == tuned.AUTO and request.target != targets.LOCAL:
        return None, []
    found, note = tuned.wanted(ctx.session, request.profile, version["digest"], label(version))
    return found, [note] if note else []


def _check_place(ctx: Context, request: contract.CreateDeployment) -> None:
    """Refuse a name that is taken, a target or environment that is not there, a port that is not free."""
    targets.target_of(request.target)
    if request.environment not in ENVIRONMENTS:
        raise BadInput(f"there is no environment {request.environment!r}", "", "one of: " + ", ".join(ENVIRONMENTS))
    others = ctx.session.dicts("SELECT name, port, tenant, removed FROM deployment WHERE status <> 'removed'")
    mine = [one["name"] for one in others if one["tenant"] == ctx.tenant and one["removed"] is None]
    if request.name in mine:
        raise Conflict(
            f"there is a deployment {request.name} already",
            "",
            f"mlops rollout start {request.name} {request.model} brings a version in",
        )
    if other := next((one["name"] for one in others if request.port and one["port"] == request.port), ""):
        raise Conflict(
            f"port {request.port} belongs to the deployment {other}", "", "choose another, or 0 for a free one"
        )
    if request.port:
        refuse_foreign(request.host, request.port)


@implements(contract.remove)
class RemoveDeployment:
    """Stop serving; what was logged stays."""

    def plan(self, ctx: Context, request: contract.OneDeployment) -> Plan:
        """Name what stops."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        changes = [Change(object=f"deploy:{row['name']}", field="status", before=row["status"], after="removed")]
        moving = rollouts.active(ctx.session, row["id"])
        changes += [
            Change(object=f"rollout:{r['id']}", field="state", before=r["state"], after="Aborted") for r in moving
        ]
        return Plan(
            operation="deploy.remove",
            object=f"deploy:{row['name']}",
            text=f"stop serving {row['name']}",
            changes=changes,
            data={"id": row["id"], "rollouts": moving},
        )

    def apply(self, ctx: Context, request: contract.OneDeployment, plan: Plan) -> Done:
        """Write it down; the reconciler drains the servers."""
        for row in plan.data["rollouts"]:
            rollouts.enter(ctx, row, "Aborted", row["step"], 0.0, "the deployment was removed", word="remove")
        ctx.session.execute(
            "UPDATE deployment SET removed = make_timestamp(?), status = 'draining', text = 'draining' WHERE id = ?",
            [ctx.now, plan.data["id"]],
        )
        ctx.emit("deploy", plan.data["id"], "removed", plan.text, plan.object)
        ctx.wake("deploy.reconcile")
        return Done(object=plan.object, text=plan.text)


@implements(contract.show)
def show(ctx: Context, request: contract.OneDeployment) -> contract.Deployment:
    """Show a deployment."""
    return shown(ctx, find_deployment(ctx.session, ctx.tenant, request.deployment))


@implements(contract.logs)
def logs(ctx: Context, request: contract.DeployLog) -> LogLines:
    """Read the end of the servers' log."""
    row = find_deployment(ctx.session, ctx.tenant, request.deployment)
    target = targets.target_of(row["target"])
    lines = target.logs(shown(ctx, row), ctx.home.deployments / row["id"], request.lines)
    return LogLines(lines=lines, last=len(lines))


def shown(ctx: Context, row: dict[str, Any]) -> contract.Deployment:
    """Return a deployment with its revisions and their figures."""
    now = traffic.current(ctx.session, row["id"])
    under_way = rollouts.active(ctx.session, row["id"])
    off = toggles.switched_off(ctx.session, ctx.tenant, row["name"])
    return contract.Deployment(
        id=row["id"],
        name=row["name"],
        target=row["target"],
        environment=row["environment"],
        status="killed" if "switched off" in off.split(", ") else row["status"],
        url=url_of(row),
        pid=row["pid"],
        created=row["created_us"],
        actor=row["actor"],
        generation=now.generation if now else 0,
        acknowledged=row["acknowledged"],
        revisions=_revisions(ctx, row, now),
        rollout=under_way[0]["id"] if under_way else None,
        text=off or row["text"],
        profile=tuned.words(row),
        fallback=fallback.current(ctx.session, row["id"]).text(labels_of(ctx.session, row["id"])),
    )


def _revisions(ctx: Context, row: dict[str, Any], now: traffic.Traffic | None) -> list[contract.Revision]:
    session = ctx.session
    engines = Servers(ctx.home.deployments / row["id"]).state.get("models", {})
    shares = {share.no: share for share in now.split.shares} if now else {}
    totals = {
        no: Figures(*figures)
        for no, *figures in session.rows(
            "SELECT revision_no, requests, errors, latency FROM revision_total WHERE deployment_id = ?", [row["id"]]
        )
    }
    found = session.dicts(
        """SELECT r.id, r.no, r.label, m.name AS model, v.version
           FROM revision r JOIN model_version v ON v.id = r.version_id JOIN model m ON m.id = v.model_id
           WHERE r.deployment_id = ? ORDER BY r.no""",
        [row["id"]],
    )
    return [
        _revision(
            {**one, **_engine(engines.get(one["id"], {}))}, shares.get(one["no"]),
            totals.get(one["no"]) or Figures(0, 0, []), row,
        )
        for one in found
    ]  # fmt: skip


def _engine(said: dict[str, Any]) -> dict[str, str]:
    """Return what a person wants to know of an engine."""
    words = [said["why"]] if said.get("why") else []
    if said.get("state", "ready") != "ready":
        words.append({"open": "crashed too often, left alone for a while"}.get(said["state"], "being started again"))
    if times := said.get("restarts"):
        how = f" (it died: {said['ended']})" if said.get("ended") else ""
        words.append(f"started again {times} time{'s' * (times > 1)}{how}")
    return {"engine": said.get("engine", ""), "provider": said.get("provider", ""), "condition": "; ".join(words)}


def _revision(
    one: dict[str, Any], share: traffic.Share | None, figures: Figures, row: dict[str, Any]
) -> contract.Revision:
    return contract.Revision(
        **one,
        role=share.role if share else "idle",
        weight=share.weight if share else 0.0,
        status=row["status"] if share else "idle",
        requests=figures.requests,
        errors=figures.errors,
        p50_ms=quantile_ms(figures.latency, 0.5),
        p95_ms=quantile_ms(figures.latency, 0.95),
    )
