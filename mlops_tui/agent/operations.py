"""Operations of the agent itself: status, stop, lists and views, SQL."""

from __future__ import annotations

import os
from typing import Any

from mlops_tui import __version__
from mlops_tui.agent import home, listener, plugin_operations, undo, upkeep
from mlops_tui.contracts import agent as contract
from mlops_tui.contracts import listing
from mlops_tui.contracts.operation import OPERATIONS, PROTOCOL, Done, Empty
from mlops_tui.core.errors import BadInput
from mlops_tui.door import Context, implements
from mlops_tui.store.listing import LISTINGS

__all__ = ["home", "listener", "plugin_operations", "undo", "upkeep"]


@implements(contract.status)
def status(ctx: Context, _: Empty) -> contract.AgentStatus:
    """Say how the agent is."""
    house, facts = ctx.house, ctx.house.facts
    return contract.AgentStatus(
        pid=os.getpid(),
        version=__version__,
        protocol=PROTOCOL,
        store=house.keys.meta.store_id,
        schema=house.store.schema,
        encryption=house.keys.mode,
        key_source=house.keys.source,
        home=str(house.home.data),
        started=house.started,
        stay=house.stay,
        readers=house.feed.readers,
        jobs_running=ctx.session.value("SELECT count(*) FROM job WHERE status = 'running'"),
        spool_files=int(facts.get("spool_files", 0)),
        spool_bytes_behind=int(facts.get("spool_bytes_behind", 0)),
        rows_ingested=int(facts.get("rows_ingested", 0)),
        quarantined=ctx.session.value("SELECT count(*) FROM quarantine"),
        lag_ms=facts.get("loop_lag_p99_ms", 0.0),
        listener=house.loopback.url if house.loopback else "",
    )


@implements(contract.stop)
def stop(ctx: Context, _: Empty) -> Done:
    """Begin to drain; the answer still goes out."""
    if ctx.house.loopback is not None:
        ctx.house.loopback.forget()
    ctx.house.leaving.set()
    return Done(object="agent", text="the agent drains and stops; jobs and servers go on")


@implements(listing.open_view)
def open_view(ctx: Context, request: listing.OpenView) -> listing.View:
    """Hold an ordered list."""
    return ctx.house.views.open(ctx.session, ctx.tenant, request)


@implements(listing.page_view)
def page_view(ctx: Context, request: listing.PageOf) -> listing.Page:
    """Read a window of a held list."""
    return ctx.house.views.page(ctx.session, request.view, request.offset, request.limit)


@implements(contract.sql)
def sql(ctx: Context, request: contract.Sql) -> contract.Rows:
    """Run one SELECT in a read-only transaction, without files or network, for five seconds at most."""
    import duckdb

    try:
        statements = duckdb.extract_statements(request.query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise BadInput("mlops sql takes one SELECT statement", "", 'mlops sql "select name, status from run"')
        cursor = ctx.session.cursor.execute(request.query)
        columns = [column[0] for column in cursor.description]
        rows = cursor.fetchmany(request.limit + 1)
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        raise BadInput("the query cannot be run", str(error).strip(), 'mlops sql "show tables"') from error
    return contract.Rows(
        columns=columns,
        rows=[[_plain(value) for value in row] for row in rows[: request.limit]],
        truncated=len(rows) > request.limit,
    )


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value)


def _register_lists() -> None:
    """Every noun that has both a declaration and a listing gets its ``list`` operation."""
    for operation in OPERATIONS.values():
        if operation.request is listing.List:
            implements(operation)(_lister(operation.noun))


def _lister(noun: str) -> Any:
    def select(ctx: Context, request: listing.List) -> listing.Table:
        return LISTINGS[noun].select(ctx.session, ctx.tenant, request)

    return select


_register_lists()
