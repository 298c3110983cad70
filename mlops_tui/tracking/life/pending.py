"""What of an owner's spool has not been taken in yet."""

from __future__ import annotations

from pathlib import Path

from mlops_tui.store.session import Session

_PIECE = 1 << 20


def unread(session: Session, spool: Path, owner: str) -> bool:
    """Tell whether an owner's event files hold whole lines beyond what was taken in.

    A torn last line, as a killed process leaves behind, does not count: nobody will ever finish it.
    """
    taken = dict(session.rows("SELECT path, offset_bytes FROM spool WHERE owner = ?", [owner]))
    return any(_has_line(path, taken.get(str(path.relative_to(spool)), 0)) for path in (spool / owner).glob("*.jsonl"))


def _has_line(path: Path, offset: int) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            while piece := file.read(_PIECE):
                if b"\n" in piece:
                    return True
    except FileNotFoundError:
        pass  # taken in and deleted meanwhile
    return False
