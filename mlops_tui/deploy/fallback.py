"""Who answers when a revision fails, takes too long or is switched off: said by a person, kept, put into the routes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from mlops_tui.contracts import deploy as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict
from mlops_tui.deploy import traffic
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.deploy.rollout import rollouts
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import label, refuse_unservable, resolve_version
from mlops_tui.serving.deployment import CAUSES, SHORTEST_S
from mlops_tui.serving.models.engine.shapes import spec_of
from mlops_tui.serving.tensors import Tensor
from mlops_tui.serving.traffic.rescue import constants
from mlops_tui.store.session import Session

ROLE = "fallback"
"""Role of a revision that has no traffic of its own."""


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """What answers in place of a revision.

    Attributes:
        to: number of the revision; None: the stable one.
        on: what has to happen, words of ``serving.deployment.CAUSES``.
        timeout_s: how long a run may take; None: as long as it likes.
        last_resort: the constant for every output by name; None: there is none.
    """

    to: int | None = None
    on: tuple[str, ...] = CAUSES
    timeout_s: float | None = None
    last_resort: dict[str, Any] | None = None

    def text(self, labels: Mapping[int, str]) -> str:
        """Return it in a few words."""
        who = labels.get(self.to, "a revision that is gone") if self.to is not None else "the stable revision"
        limit = f" after {self.timeout_s * 1000:g} ms" if self.timeout_s is not None else ""
        causes = [f"{cause}{limit if cause == 'timeout' else ''}" for cause in self.on if cause != "timeout" or limit]
        last = f", at last {json.dumps(self.last_resort)}" if self.last_resort is not None else ""
        return f"{who} on {', '.join(causes) or 'nothing'}{last}"


class Wanted(NamedTuple):
    """A fallback that is asked for; ``version`` is a model that the deployment has no revision of yet."""

    spec: Fallback
    version: dict[str, Any] | None = None

    def text(self, labels: Mapping[int, str]) -> str:
        """Return it in a few words."""
        said = self.spec.text(labels)
        return said.replace("the stable revision", label(self.version), 1) if self.version else said


def current(session: Session, deployment: str) -> Fallback:
    """Return what holds."""
    spec = session.value(
        "SELECT spec FROM fallback_event WHERE deployment_id = ? ORDER BY seq DESC LIMIT 1", [deployment]
    )
    return msgspec.json.decode(spec, type=Fallback) if spec else Fallback()


def shares(split: Sequence[traffic.Share], found: Fallback) -> list[traffic.Share]:
    """Return the shares of a split, and one without traffic for the fallback when it has none there."""
    missing = found.to is not None and found.to not in [share.no for share in split]
    return [*split, traffic.Share(no=found.to, role=ROLE, weight=0.0)] if missing and found.to is not None else [*split]


def rescue(found: Fallback) -> dict[str, Any]:
    """Return what the servers are told besides who it is."""
    return {"on": list(found.on), "timeout_s": found.timeout_s, "last_resort": found.last_resort}


def into_routes(routes: dict[str, Any], found: Fallback, known: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return routes with the fallback in them.

    Args:
        routes: as the split wants them, with the stable revision as ``fallback``.
        found: what holds.
        known: the deployment's revisions by number, as routes have them.
    """
    if found.to is not None and found.to in known:
        spare = known[found.to]
        if spare["id"] not in [one["id"] for one in routes["revisions"]]:
            routes["revisions"] = [*routes["revisions"], {**spare, "weight": 0.0, "role": ROLE}]
        routes["fallback"] = spare["id"]
    return {**routes, "rescue": rescue(found)}


@implements(contract.fallback)
class SetFallback:
    """Say who answers when a revision does not."""

    def plan(self, ctx: Context, request: contract.SetFallback) -> Plan:
        """Check every part; say before and after."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        _refuse_moving(ctx, row)
        before, labels = current(ctx.session, row["id"]), labels_of(ctx.session, row["id"])
        wanted = Wanted(Fallback()) if request.remove else _asked(ctx, row["id"], request)
        name, said = f"deploy:{row['name']}", wanted.text(labels)
        return Plan(
            operation="deploy.fallback",
            object=name,
            text=f"{row['name']} falls back to {said}",
            changes=[Change(object=name, field="fallback", before=before.text(labels), after=said)],
            cli=shlex.join(["mlops", "deploy", "fallback", row["name"], *_flags(request)]),
            environment=str(row["environment"]),
            data={"id": row["id"], "wanted": wanted},
        )

    def apply(self, ctx: Context, request: contract.SetFallback, plan: Plan) -> Done:
        """Write it, and a new generation of the routes."""
        deployment = plan.data["id"]
        keep(ctx, deployment, None if request.remove else plan.data["wanted"])
        if (now := traffic.current(ctx.session, deployment)) is not None:
            traffic.shift(ctx, deployment, now.split, "fallback", ctx.caller.reason)
        ctx.emit("deploy", deployment, "changed", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


def _refuse_moving(ctx: Context, row: Mapping[str, Any]) -> None:
    """Refuse while somebody counts what each revision answers: a new generation would begin the count anew."""
    now = traffic.current(ctx.session, row["id"])
    if rollouts.active(ctx.session, row["id"]) or (now is not None and now.split.tested):
        raise Conflict(
            f"the fallback of {row['name']} cannot be changed now",
            "a rollout or a test is under way",
            f"mlops deploy kill {row['name']} works at any time",
        )


def keep(ctx: Context, deployment: str, wanted: Wanted | None) -> None:
    """Make a fallback the one that holds from the next generation of the routes on; None: as if none were said."""
    spec = None
    if wanted is not None:
        to = wanted.spec.to if wanted.version is None else traffic.add_revision(ctx, deployment, wanted.version)
        spec = msgspec.json.encode(msgspec.structs.replace(wanted.spec, to=to)).decode()
    ctx.session.insert(
        "fallback_event",
        seq=ctx.next("fallback_event"),
        deployment_id=deployment,
        spec=spec,
        actor=ctx.caller.name,
        reason=ctx.caller.reason,
        ts_us=ctx.now,
    )


def wanted(
    ctx: Context,
    deployment: str,
    new: Sequence[Mapping[str, Any]],
    to: str,
    on: tuple[str, ...],
    timeout_s: float | None,
    last: Any,
) -> Wanted:
    """Return a fallback that somebody asks for.

    Args:
        ctx: the call.
        deployment: whose.
        new: versions that are about to come in, besides those that are served.
        to: one of them, or a version; empty: the stable revision.
        on: causes.
        timeout_s: how long a run may take.
        last: the constant for every output by name, or None.

    Raises:
        NotFound: there is no such revision or version.
        Refused: our servers cannot run the version.
        BadInput: the time is too short, or the constant does not fit the outputs of a version.
    """
    version, labels = None, labels_of(ctx.session, deployment)
    if to and to not in labels.values():
        version = resolve_version(ctx.session, ctx.tenant, to)
        refuse_unservable(version)
    if timeout_s is not None and timeout_s < SHORTEST_S:
        raise BadInput(
            f"{timeout_s * 1000:g} ms is too short a limit",
            "what takes less than a millisecond runs in the event loop and cannot be cut short",
            f"{SHORTEST_S * 1000:g} ms or more",
        )
    if last is not None and (not isinstance(last, dict) or not last):
        raise BadInput("the last resort is no object", "it has a value for every output", """such as {"score": 0.5}""")
    if last is not None:
        for row in (*_served(ctx.session, deployment), *new, *([version] if version else [])):
            _refuse_unfit(last, row)
    no = next((one for one, known in labels.items() if known == to), None)
    return Wanted(Fallback(to=no, on=on, timeout_s=timeout_s, last_resort=last), version)


def _served(session: Session, deployment: str) -> list[dict[str, Any]]:
    """Return the versions that answer now: a constant stands in for each of them."""
    now = traffic.current(session, deployment)
    known = session.dicts(
        """SELECT r.no, v.*, m.name AS model FROM revision r
           JOIN model_version v ON v.id = r.version_id JOIN model m ON m.id = v.model_id WHERE r.deployment_id = ?""",
        [deployment],
    )
    return [row for row in known if now is not None and row["no"] in [share.no for share in now.split.shares]]


def _refuse_unfit(last: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Refuse a constant that the servers could not give in place of a version; of Python models they know alone."""
    outputs = msgspec.json.decode(row["signature"]).get("outputs", ()) if row["format"] == "onnx" else ()
    try:
        specs = [spec_of(one) for one in outputs]
        constants(last, [Tensor(one.name, one.datatype, one.shape, (None,) * len(one.shape)) for one in specs])
    except ValueError:  # a type that no tensor has: the servers say what they think of it
        return
    except BadInput as error:
        raise BadInput(f"{label(dict(row))}: {error.what}", error.why, error.fix) from error


def _asked(ctx: Context, deployment: str, request: contract.SetFallback) -> Wanted:
    on = tuple(request.on) or CAUSES
    if unknown := [one for one in on if one not in CAUSES]:
        raise BadInput(f"there is no cause {unknown[0]!r}", "", "one of: " + ", ".join(CAUSES))
    limit = request.timeout_ms / 1000 if request.timeout_ms else None
    if "timeout" in request.on and limit is None:
        raise BadInput("a fallback on timeout needs the time", "", "--timeout-ms 50")
    return wanted(ctx, deployment, (), request.revision, on, limit, _constant(request.last_resort))


def _constant(text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput("the last resort is not JSON", str(error), """--last-resort '{"score": 0.5}'""") from error


def _flags(request: contract.SetFallback) -> list[str]:
    if request.remove:
        return ["--remove"]
    words = ["--revision", request.revision] if request.revision else []
    for cause in request.on:
        words += ["--on", cause]
    words += ["--timeout-ms", f"{request.timeout_ms:g}"] if request.timeout_ms else []
    return words + (["--last-resort", request.last_resort] if request.last_resort else [])
