"""What jobs and servers used. Prices are the user's to set; without them hours are shown, never invented money."""

from __future__ import annotations

from mlops_tui.contracts import govern as contract
from mlops_tui.contracts.operation import Empty
from mlops_tui.core.clock import DAY
from mlops_tui.door import Context, implements


def lines(ctx: Context, since: int) -> list[contract.CostLine]:
    """Return use by job since ``since`` (µs): processor hours as measured when each job ended."""
    cpu_price, gpu_price = prices(ctx)
    rows = ctx.session.rows(
        """SELECT name, kind, cpu_s / 3600, gpu_s / 3600 FROM job
           WHERE tenant = ? AND (ended IS NULL OR ended >= make_timestamp(?)) ORDER BY cpu_s DESC""",
        [ctx.tenant, since],
    )
    return [
        contract.CostLine(
            owner=name,
            kind=kind,
            cpu_hours=cpu,
            gpu_hours=gpu,
            amount=cpu * cpu_price + gpu * gpu_price if cpu_price or gpu_price else None,
        )
        for name, kind, cpu, gpu in rows
    ]


def prices(ctx: Context) -> tuple[float, float]:
    """Return the prices of a processor hour and of a GPU hour; 0: not set."""
    return float(ctx.config.get("cost.cpu_hour")), float(ctx.config.get("cost.gpu_hour"))


@implements(contract.cost_show)
def show(ctx: Context, _: Empty) -> contract.Cost:
    """Show the last thirty days."""
    since, currency = ctx.now - 30 * DAY, str(ctx.config.get("cost.currency"))
    return contract.Cost(since=since, currency=currency, priced=any(prices(ctx)), lines=lines(ctx, since))
