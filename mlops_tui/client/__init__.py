"""The typed client of the door; the TUI, the CLI and the SDK are equal users of it."""

from __future__ import annotations

from mlops_tui.client.aio import AsyncClient
from mlops_tui.client.client import Client
from mlops_tui.client.start import Hello

__all__ = ["AsyncClient", "Client", "Hello"]
