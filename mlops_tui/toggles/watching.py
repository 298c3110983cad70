"""A definition file that changes while it is read: looked at when asked, read again when it is another file."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mlops_tui.core.errors import MlopsError, NotFound
from mlops_tui.toggles.definition import Definition, read_file

_log = logging.getLogger("mlops.toggles")


class Watched:
    """A definition file. What cannot be read leaves what was read before in force.

    Args:
        path: the file; it need not be there yet.

    Attributes:
        definition: what is in force.
        error: what is wrong with the file as it lies there now; empty when nothing is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self.definition = Definition()
        self.error = ""

    def look(self) -> bool:
        """Read the file if it changed since the last look; tell whether another definition is in force now."""
        seen = self._signature()
        if seen == self._seen:
            return False
        self._seen, before = seen, self.definition
        try:
            self.definition, self.error = read_file(self._path), ""
        except NotFound:
            self.definition, self.error = Definition(), ""
        except MlopsError as error:
            self.error = str(error)
            _log.error("%s: %s; what was read before stays in force", self._path, error)
        return self.definition is not before and (bool(before.toggles) or bool(self.definition.toggles))

    def _signature(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._path)
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_ino, found.st_size)
