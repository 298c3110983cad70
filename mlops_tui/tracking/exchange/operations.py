"""Starting imports and exports: the plan says where from or where to, a worker reads and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.contracts import exchange as contract
from mlops_tui.contracts.operation import Change, Plan, Started
from mlops_tui.core.errors import BadInput
from mlops_tui.door import Context, implements
from mlops_tui.jobs import start_job
from mlops_tui.tracking.exchange.open import absolute, shown
from mlops_tui.tracking.exchange.target import check_target
from mlops_tui.tracking.experiments import find_experiment

WORKER = "mlops_tui.tracking.exchange.worker"
EXPORT_WORKER = "mlops_tui.tracking.exchange.export_worker"


class _Import:
    """Queue the worker that reads a source."""

    tool = ""

    def plan(self, ctx: Context, request: Any) -> Plan:
        """Find the source, before a job is spent on it."""
        source = absolute(request.source, ctx.caller.cwd)
        verb = "look into" if request.look else "import from"
        return Plan(
            operation=f"import.{self.tool}",
            object=f"import:{shown(source)}",
            text=f"{verb} {shown(source)}",
            data={**msgspec.to_builtins(request), "source": source, "tool": self.tool},
        )

    def apply(self, ctx: Context, request: Any, plan: Plan) -> Started:
        """Queue it."""
        name = shown(plan.data["source"])
        job = start_job(ctx, kind=f"import.{self.tool}", name=name, module=WORKER, request=plan.data, lane="work")
        return Started(job=job, text=plan.text)


@implements(contract.mlflow)
class ImportMlflow(_Import):
    """Bring what MLflow holds."""

    tool = "mlflow"


@implements(contract.wandb)
class ImportWandb(_Import):
    """Bring what W&B has written."""

    tool = "wandb"


@implements(contract.store)
class ExportStore:
    """Queue the worker that writes everything."""

    def plan(self, ctx: Context, request: contract.ExportStore) -> Plan:
        """Say what is written where."""
        if not request.all and not request.experiment:
            raise BadInput("nothing is chosen", "", "mlops export --all DIR, or --experiment NAME")
        folder = Path(ctx.caller.cwd or "/", request.folder)
        check_target(folder)
        chosen = [] if request.all else request.experiment
        names = [find_experiment(ctx.session, ctx.tenant, one)["name"] for one in chosen]
        what = ", ".join(names) or "everything"
        runs = ctx.session.value(
            """SELECT count(*) FROM run r JOIN experiment e ON e.id = r.experiment_id
               WHERE r.tenant = ? AND (len(?) = 0 OR list_contains(?, e.name))""",
            [ctx.tenant, names, names],
        )
        return Plan(
            operation="export.store",
            object=f"export:{folder}",
            text=f"write {what} to {folder}: {runs:,} runs",
            changes=[Change(object=f"export:{folder}", field="runs", after=runs)],
            warnings=["what is written there is not encrypted"] if ctx.blobs.sealed else [],
            data={"folder": str(folder), "experiment": names, "artifacts": request.artifacts, "runs": runs},
        )

    def apply(self, ctx: Context, request: contract.ExportStore, plan: Plan) -> Started:
        """Queue it."""
        name = Path(plan.data["folder"]).name
        job = start_job(ctx, kind="export.store", name=name, module=EXPORT_WORKER, request=plan.data)
        return Started(job=job, text=plan.text)
