"""Jobs: supervised processes that outlive the agent and every terminal. Rooms start their heavy work here."""

from __future__ import annotations

from mlops_tui.jobs.start import DataFile, start_job

__all__ = ["DataFile", "start_job"]
