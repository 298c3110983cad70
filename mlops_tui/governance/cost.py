"""What jobs and servers used. Prices are the user's to set; without them hours are shown, never invented money."""

from __future__ import annotations

from mlops_tui.contracts import govern as contract
from mlops_tui.contracts.operation import Empty
from mlops_tui.core.clock import DAY
from mlops_tui.door import Context, implements


def lines(ctx: Context, since: int) -> list[contract.CostLine]:
    """Return use by job since ``since`` (µs): processor hours as measured when each job ended."""
    price = float(ctx.config.get("cost.cpu_hour"))
    rows = ctx.session.rows(
        "SELECT name, kind, cpu_s / 3600, gpu_s / 3600 FROM job WHERE tenant = ? AND epoch_us(coalesce(ended, now()::TIMESTAMP)) >= ? ORDER BY 3 DESC",
        [ctx.tenant, since],
    )
    return [
        contract.CostLine(
            owner=name,
            kind=kind,
            cpu_hours=cpu,
            gpu_hours=gpu,
            amount=cpu * price + gpu * float(ctx.config.get("cost.gpu_hour")) if price else None,
        )
        for name, kind, cpu, gpu in rows
    ]


@implements(contract.cost_show)
def show(ctx: Context, _: Empty) -> contract.Cost:
    """Show the last thirty days."""
    since = ctx.now - 30 * DAY
    priced = bool(float(ctx.config.get("cost.cpu_hour")))
    return contract.Cost(
        since=since, currency=str(ctx.config.get("cost.currency")), priced=priced, lines=lines(ctx, since)
    )
