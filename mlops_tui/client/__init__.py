"""The typed client of the door; the TUI, the CLI and the SDK are equal users of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_tui.client.client import Client
from mlops_tui.client.start import Hello

if TYPE_CHECKING:
    from mlops_tui.client.aio import AsyncClient

__all__ = ["AsyncClient", "Client", "Hello"]


def __getattr__(name: str) -> Any:  # PEP 562: a command line must not import asyncio
    if name == "AsyncClient":
        from mlops_tui.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module 'mlops_tui.client' has no attribute {name!r}")
