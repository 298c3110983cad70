"""Operations and list of tuning: begun, kept, shown, drawn."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from mlops_tui.contracts import tuning as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan, Started
from mlops_tui.core.errors import BadInput, Conflict, NotFound, Refused
from mlops_tui.core.ids import uuid7
from mlops_tui.data.versions import resolve
from mlops_tui.deploy.package.tuned import this_machine
from mlops_tui.door import Context, implements
from mlops_tui.jobs import start_job
from mlops_tui.pipelines.tuning import drawing
from mlops_tui.registry.versions import label, resolve_version
from mlops_tui.serving.models.profile import Setting
from mlops_tui.store.listing import Listing, lists

_DEFINITIONS = "mlops.feature_set"
_UNITS = {"p50": {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}, "p99": {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3},
          "memory": {"KB": 1e3, "MB": 1e6, "GB": 1e9, "": 1.0}, "rate": {"": 1.0}}  # fmt: skip
_FIGURES = {"p50": "p50_ms", "p99": "p99_ms", "memory": "memory", "rate": "rate"}

lists(
    Listing(
        noun="profile",
        source="""model_profile p JOIN model_version v ON v.id = p.version_id JOIN model m ON m.id = v.model_id""",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="model", label="model"),
            Column(name="profile", label="profile"),
            Column(name="precision", label="precision"),
            Column(name="threads", label="threads", kind="int"),
            Column(name="workers", label="workers", kind="int"),
            Column(name="host", label="machine"),
            Column(name="ts", label="measured", kind="time"),
            Column(name="text", label="why"),
        ],
        expressions={
            "id": "p.id",
            "model": "m.name || '@' || v.version",
            "profile": "p.profile",
            "precision": "p.setting->>'precision'",
            "threads": "(p.setting->>'threads')::INTEGER",
            "workers": "(p.setting->>'workers')::INTEGER",
            "host": "p.host",
            "ts": "epoch_us(p.ts)",
            "text": "p.text",
        },
        sort="-ts",
        tenant="p.tenant",
    )
)


@implements(contract.tune)
class TuneModel:
    """Measure a version; a worker does."""

    def plan(self, ctx: Context, request: contract.TuneModel) -> Plan:
        """Find version, machine and data; read the limits."""
        version = resolve_version(ctx.session, ctx.tenant, request.model)
        if version["format"] != "onnx":
            raise Refused(f"{label(version)} cannot be tuned", f"it is {version['format']}", "export it to ONNX")
        machine = this_machine(ctx.session)
        if not machine.fingerprint:
            raise Conflict("this machine is not known yet", "the agent samples it two seconds after its start", "again")
        signature = msgspec.json.decode(version["signature"] or "{}")
        file = None
        if request.data:
            found = resolve(ctx.session, ctx.tenant, request.data)
            file = {"digest": found["digest"], "format": found["format"]}
        body = {
            "version": version["id"], "digest": version["digest"], "run": version["run_id"] or "", "file": file,
            "host": machine.fingerprint, "profile": request.profile, "limits": limits(request.slo),
            "max_accuracy_loss": share(request.max_accuracy_loss), "label_column": request.label_column,
            "definitions": signature.get("metadata", {}).get(_DEFINITIONS, ""), "seconds": request.seconds,
            "rounds": request.rounds,
        }  # fmt: skip
        text = f"measure how {label(version)} is best served on {machine.text} ({request.profile})"
        return Plan(
            operation="model.tune",
            object=f"model:{label(version)}",
            text=text,
            warnings=["it keeps the processors busy for a minute or more: other work slows it down and is slowed down"],
            data={"body": body, "name": label(version)},
        )

    def apply(self, ctx: Context, request: contract.TuneModel, plan: Plan) -> Started:
        """Queue the worker."""
        job = start_job(
            ctx,
            kind="model.tune",
            name=plan.data["name"],
            module="mlops_tui.pipelines.tuning.worker",
            request=plan.data["body"],
        )
        return Started(job=job, text=plan.text)


def limits(given: list[str]) -> dict[str, float]:
    """Return limits by figure.

    Raises:
        BadInput: one is not ``figure=value`` with a unit that fits.
    """
    found = {}
    for text in given:
        match = re.fullmatch(r"\s*(\w+)\s*=\s*([0-9.]+)\s*([a-zA-Zµ]*)\s*", text)
        units = _UNITS.get(match[1], {}) if match else {}
        if match is None or match[3] not in units:
            raise BadInput(f"{text!r} is no limit", "", "p99=20ms, p50=2ms, memory=200MB or rate=1000")
        try:
            found[_FIGURES[match[1]]] = float(match[2]) * units[match[3]]
        except ValueError as error:
            raise BadInput(f"{match[2]!r} is no number", "", "p99=20ms") from error
    return found


def share(text: str) -> float:
    """Return a share that was written as ``0.5%`` or ``0.005``.

    Raises:
        BadInput: it is neither, or not within 0 and 1.
    """
    try:
        found = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError as error:
        raise BadInput(f"{text!r} is no share", "", "0.5% or 0.005") from error
    if not 0 <= found <= 1:
        raise BadInput(f"{text!r} is no share", "", "0% to 100%")
    return found


@implements(contract.tuned)
class Tuned:
    """Keep what a worker found."""

    def plan(self, ctx: Context, request: contract.Tuned) -> Plan:
        """Say what deployments made from now on will use."""
        version = resolve_version(ctx.session, ctx.tenant, request.model)
        setting = msgspec.convert(request.setting, Setting)
        name = f"model:{label(version)}"
        return Plan(
            operation="model.tuned",
            object=name,
            text=f"{label(version)} for {request.profile}: {request.text}",
            changes=[Change(object=name, field=f"{request.profile} profile", after=setting.name)],
            data={"version": version},
        )

    def apply(self, ctx: Context, request: contract.Tuned, plan: Plan) -> Done:
        """Insert it."""
        version = plan.data["version"]
        ctx.session.insert(
            "model_profile",
            id=uuid7(),
            tenant=ctx.tenant,
            version_id=version["id"],
            digest=request.digest,
            host=request.host,
            profile=request.profile,
            setting=msgspec.json.encode(request.setting).decode(),
            variant=request.variant,
            keeps=request.keeps,
            text=request.text,
            report=msgspec.json.encode(request.report).decode(),
            ts_us=ctx.now,
            actor=ctx.caller.name,
        )
        ctx.emit("profile", version["model_id"], "measured", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


@implements(contract.show)
def show(ctx: Context, request: contract.OneProfile) -> contract.ProfileShown:
    """Show what tuning found."""
    row = _find(ctx, request.model, request.profile)
    return contract.ProfileShown(
        model=row["label"],
        profile=row["profile"],
        text=row["text"],
        here=row["host"] == this_machine(ctx.session).fingerprint,
        host=row["host"],
        ts=row["ts_us"],
        actor=row["actor"],
        **row["report"],
    )


@implements(contract.draw)
def draw(ctx: Context, request: contract.DrawProfile) -> contract.Drawing:
    """Draw what tuning found."""
    row = _find(ctx, request.model, request.profile)
    title = f"{row['label']} for {row['profile']}: {row['report']['chosen']}"
    found = row["report"]["candidates"]
    content = drawing.svg(title, found) if request.form == "svg" else drawing.cells(title, found).encode()
    name = re.sub(r"[^\w.-]", "-", row["label"])
    return contract.Drawing(name=f"{name}-{row['profile']}.{request.form}", content=content, candidates=len(found))


def _find(ctx: Context, reference: str, profile: str) -> dict[str, Any]:
    version = resolve_version(ctx.session, ctx.tenant, reference)
    row = ctx.session.dict(
        """SELECT *, epoch_us(ts) AS ts_us FROM model_profile
           WHERE digest = ? AND tenant = ? AND (? = '' OR profile = ?) ORDER BY ts DESC LIMIT 1""",
        [version["digest"], ctx.tenant, profile, profile],
    )
    if row is None:
        raise NotFound(
            f"{label(version)} has no {profile or 'serving'} profile", "", f"mlops model tune {label(version)}"
        )
    return {**row, "label": label(version), "report": msgspec.json.decode(row["report"])}
