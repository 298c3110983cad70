"""Starting an import: the plan says where from, a worker reads."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import exchange as contract
from mlops_tui.contracts.operation import Plan, Started
from mlops_tui.door import Context, implements
from mlops_tui.jobs import start_job
from mlops_tui.tracking.exchange.open import absolute, shown

WORKER = "mlops_tui.tracking.exchange.worker"


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
