"""Columns that a list does not have by itself: any other key of its noun, or the course of a metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_tui.contracts.listing import Column
from mlops_tui.store.search import Field
from mlops_tui.store.session import Session

if TYPE_CHECKING:
    from mlops_tui.store.listing import Listing

COURSE = ".curve"
"""What stands behind a metric's name where its course is wanted."""


@dataclass(frozen=True)
class Extra:
    """A column that a list does not have by itself."""

    column: Column
    field: Field

    def of(self, session: Session, listing: Listing, ids: list[Any]) -> dict[Any, Any]:
        """Return the values of these rows by their ids."""
        field = self.field
        if not field.table:
            sql = (
                f"SELECT {listing.id}, {field.sql} FROM {listing.rows_from()} WHERE {listing.id} IN (SELECT unnest(?))"
            )
            return dict(session.rows(sql, [ids]))
        value = (
            f"string_agg(DISTINCT {field.sql}, ', ' ORDER BY {field.sql})" if field.many else f"any_value({field.sql})"
        )
        return dict(
            session.rows(
                f"SELECT {field.owner}, {value} FROM {field.table} WHERE {field.where}"
                f" AND {field.owner} IN (SELECT unnest(?)) GROUP BY 1",
                [*field.params, ids],
            )
        )


@dataclass(frozen=True)
class Course:
    """A column with the course of a metric: nothing can be sorted or filtered by it."""

    column: Column
    key: str

    def of(self, session: Session, listing: Listing, ids: list[Any]) -> dict[Any, Any]:
        """Return the courses of these rows by their ids."""
        assert listing.curves is not None
        return listing.curves(session, self.key.removesuffix(COURSE), ids)
