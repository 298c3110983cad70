"""Asking for runs: ``mlops.search_runs("auc > 0.9", order_by="-auc")``. Asks the agent, and starts one if need be."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal, overload

_PAGE = 1000


@overload
def search_runs(
    filter: str = ..., order_by: str | Sequence[str] = ..., limit: int = ..., *, as_pandas: Literal[False] = ...
) -> list[dict[str, Any]]: ...


@overload
def search_runs(
    filter: str = ..., order_by: str | Sequence[str] = ..., limit: int = ..., *, as_pandas: Literal[True]
) -> Any: ...


def search_runs(
    filter: str = "", order_by: str | Sequence[str] = (), limit: int = 1000, *, as_pandas: bool = False
) -> Any:
    """Return the runs that a filter lets through.

    Args:
        filter: the search language: ``status:done auc>0.9``, or MLflow's ``metrics.auc > 0.9 AND params.lr = '0.1'``.
        order_by: keys, ``-auc`` or ``metrics.auc DESC``; default, the newest first.
        limit: runs at most.
        as_pandas: return a pandas DataFrame with a column a parameter, metric and tag.

    Returns:
        A dictionary a run with ``id``, ``name``, ``experiment``, ``status``, ``started`` and ``ended`` (µs),
        ``params``, ``metrics`` (last values), ``tags`` and some more; or a DataFrame.

    Raises:
        MlopsError: the filter cannot be read, or there is no agent.
    """
    import msgspec

    from mlops_tui.client import Client
    from mlops_tui.contracts.analysis import SearchRuns, search

    order = [order_by] if isinstance(order_by, str) and order_by else list(order_by)
    found: list[dict[str, Any]] = []
    token = ""
    with Client() as client:
        while len(found) < limit:
            ask = SearchRuns(filter=filter, order_by=order, limit=min(_PAGE, limit - len(found)), token=token)
            page = client.call(search, ask)
            found += [_plain(msgspec.to_builtins(run)) for run in page.runs]
            token = page.next
            if not token:
                break
    return _frame(found) if as_pandas else found


def _plain(run: dict[str, Any]) -> dict[str, Any]:
    run["metrics"] = {key: None if value is None else float(value) for key, value in run["metrics"].items()}
    return run


def _frame(runs: list[dict[str, Any]]) -> Any:
    pandas = import_module("pandas")
    parts = ("params", "metrics", "tags")
    rows = [
        {key: value for key, value in run.items() if key not in parts}
        | {f"{part}.{key}": value for part in parts for key, value in run[part].items()}
        for run in runs
    ]
    frame = pandas.DataFrame(rows)
    for name in ("started", "ended"):
        if name in frame:
            frame[name] = pandas.to_datetime(frame[name], unit="us", utc=True)
    return frame
