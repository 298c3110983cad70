"""Pages of a search: how many, from where on, and the token that says where the next one begins."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from mlops_tui.agent.mlflow.errors import WireError, invalid


def wrong_size(size: int, most: int) -> WireError:
    """Return the error for a page that is too small or too large."""
    rule = f"at most {most}" if size > most else "a positive integer"
    return invalid(f"Invalid value {size} for parameter 'max_results' supplied. It must be {rule}.")


@dataclass(frozen=True)
class Slice:
    """A part of a list; ask for one row more than its size, so that :meth:`answer` knows whether there is a next."""

    offset: int
    size: int

    @classmethod
    def of(cls, token: str | None, size: int) -> Slice:
        """Return the part that a token means; without one, the first.

        Raises:
            WireError: it is no token.
        """
        if not token:
            return cls(0, size)
        try:
            text = base64.b64decode(token, validate=True)
        except binascii.Error as error:
            raise invalid("Invalid page token, could not base64-decode it") from error
        try:
            offset = int(msgspec.json.decode(text)["offset"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise invalid("Invalid page token, the value is not one that a search answered with") from error
        if offset < 0:
            raise invalid(f"Invalid page token, offset {offset} is negative")
        return cls(offset, size)

    def answer(self, name: str, rows: list[Any]) -> dict[str, Any]:
        """Return the page under its name, with the token of the next when there is one; nothing when it is empty."""
        page: dict[str, Any] = {name: rows[: self.size]} if rows else {}
        if len(rows) > self.size:
            token = json.dumps({"offset": self.offset + self.size}).encode()
            page["next_page_token"] = base64.b64encode(token).decode()
        return page
