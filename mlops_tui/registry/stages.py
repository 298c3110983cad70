"""MLflow's stages of versions. Aliases have replaced them; a client that still moves versions between them can."""

from __future__ import annotations

import shlex

from mlops_tui.contracts import version as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput
from mlops_tui.door import Context, implements
from mlops_tui.registry.models import touch
from mlops_tui.registry.versions import label, resolve_version, versions_of

_ACTIVE = ("Staging", "Production")
_ARCHIVED = "Archived"


@implements(contract.stage)
class MoveVersion:
    """Move a version to a stage, and those that are there to the archive if that is wanted."""

    def plan(self, ctx: Context, request: contract.MoveVersion) -> Plan:
        """Say which versions move."""
        stage = canonical(request.stage)
        if request.archive and stage not in _ACTIVE:
            raise BadInput(
                f"Model version transition cannot archive existing model versions because '{request.stage}' is not an"
                f" Active stage",
                f"active stages are {', '.join(_ACTIVE)}",
            )
        row = resolve_version(ctx.session, ctx.tenant, request.model)
        others = [
            one
            for one in versions_of(ctx.session, row["model_id"])
            if request.archive and one["stage"] == stage and one["id"] != row["id"]
        ]
        moves = [(row, stage), *((one, _ARCHIVED) for one in others)]
        return Plan(
            operation="version.stage",
            object=f"model:{label(row)}",
            text=f"move {label(row)} to {stage}",
            changes=[
                Change(object=f"model:{label(one)}", field="stage", before=one["stage"], after=to) for one, to in moves
            ],
            cli=shlex.join(["mlops", "version", "stage", label(row), stage, *(["--archive"] * request.archive)]),
            data={"row": row, "moves": [(one["id"], to) for one, to in moves]},
        )

    def apply(self, ctx: Context, request: contract.MoveVersion, plan: Plan) -> Done:
        """Write the stages."""
        row = plan.data["row"]
        for version, stage in plan.data["moves"]:
            ctx.session.execute(
                "UPDATE model_version SET stage = ?, updated = make_timestamp(?) WHERE id = ?",
                [stage, ctx.now, version],
            )
        touch(ctx, row["model_id"])
        ctx.emit("model", row["model_id"], "moved", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


def canonical(stage: str) -> str:
    """Return a stage as it is written.

    Raises:
        BadInput: there is no such stage.
    """
    for known in contract.STAGES:
        if known.lower() == stage.lower():
            return known
    raise BadInput(
        f"Invalid Model Version stage: {stage}. Value must be one of {', '.join(contract.STAGES)}.",
        "",
        "mlops version stage employment@1 Production",
    )
