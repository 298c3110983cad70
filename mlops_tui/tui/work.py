"""Work beside the screen: never takes the app down, and leaves nothing behind when it is replaced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from textual.dom import DOMNode


def start(
    node: DOMNode, work: Callable[..., Awaitable[Any]], *given: Any, group: str = "", replace: bool = False
) -> None:
    """Run a coroutine function as a worker of a node; its failure is shown by the app and kills nothing.

    Args:
        node: the screen or widget that it belongs to; it ends with it.
        work: a coroutine function. Not a coroutine: one that is replaced before it began would be left unawaited.
        given: its arguments.
        group: workers that do the same thing.
        replace: end the older workers of the group first.
    """

    async def guarded() -> None:
        try:
            await work(*given)
        except Exception as error:
            report = getattr(node.app, "report", None)
            if report is None:
                raise
            report(error)

    node.run_worker(cast(Any, guarded), group=group or "default", exclusive=replace, exit_on_error=False)
