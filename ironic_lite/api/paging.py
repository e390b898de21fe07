"""Pages of a list: keyset paging, which costs the same on the last page as on the first.

The order is (is null, sort column, id), so that rows without a value have a place that all databases agree on: first
when ascending, last when descending.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api.arguments import Argument, choice, integer, text
from ironic_lite.config import Int, Section

Column = sa.ColumnElement[Any]


class conf(Section, name="api"):
    """Lists."""

    max_limit = Int(1000, min=1, help="Most objects that one answer lists; also the default.")


def _limit(name: str, value: str) -> int:
    wanted = integer(name, value)
    if wanted <= 0:
        raise errors.Invalid(reason=f"{name} must be a whole number above 0, not {wanted}.")
    return wanted


ARGUMENTS: Final[Mapping[str, Argument]] = {
    "limit": Argument(_limit),
    "marker": Argument(text),
    "sort_key": Argument(text),
    "sort_dir": Argument(choice("asc", "desc")),
}


class Page(msgspec.Struct, frozen=True):
    """Which part of a list, in which order."""

    limit: int
    marker: str | None
    sort_key: str
    sort_dir: str

    @property
    def descending(self) -> bool:
        """Whether the largest comes first."""
        return self.sort_dir == "desc"


def page(arguments: Mapping[str, Any], sort_key: str) -> Page:
    """The page that was asked for; `sort_key` is the list's own."""
    wanted = arguments.get("limit", conf.max_limit)
    return Page(
        limit=min(wanted, conf.max_limit),
        marker=arguments.get("marker"),
        sort_key=arguments.get("sort_key", sort_key),
        sort_dir=arguments.get("sort_dir", "asc"),
    )


def sort_column(wanted: Page, sortable: Mapping[str, Column]) -> Column:
    """The column to sort by. Raises `Invalid` naming what can be sorted by."""
    try:
        return sortable[wanted.sort_key]
    except KeyError:
        reason = f"sort_key cannot be {wanted.sort_key!r}; allowed are: {', '.join(sorted(sortable))}."
        raise errors.Invalid(reason=reason) from None


def ordered(query: sa.Select[Any], wanted: Page, column: Column, id_column: Column) -> sa.Select[Any]:
    """The query with its order and limit."""
    keys = (id_column,) if column is id_column else (_presence(column), column, id_column)
    return query.order_by(*(key.desc() if wanted.descending else key for key in keys)).limit(wanted.limit)


def after(wanted: Page, column: Column, id_column: Column, marker: Sequence[Any]) -> Column:
    """What comes behind the marker, whose value in the sort column and whose id are given."""
    value, identity = marker
    later_id = _beyond(id_column, identity, wanted)
    if column is id_column:
        return later_id
    if value is None:
        same = sa.and_(column.is_(None), later_id)
        return same if wanted.descending else sa.or_(column.is_not(None), same)
    bound = sa.literal(value, column.type)
    behind = sa.or_(_beyond(column, bound, wanted), sa.and_(column == bound, later_id))
    return sa.or_(behind, column.is_(None)) if wanted.descending else behind


def next_url(url: str, wanted: Page, given: Mapping[str, Any], shape: Mapping[str, str], marker: str) -> str:
    """Where the next page is. `given` are the filters as they came, `shape` is `detail` or `fields`."""
    query: dict[str, Any] = {"sort_key": wanted.sort_key, "sort_dir": wanted.sort_dir}
    query |= {name: value for name, value in shape.items() if name == "detail"}
    query |= dict(given)
    query |= {name: value for name, value in shape.items() if name == "fields"}
    query |= {"limit": wanted.limit, "marker": marker}
    return f"{url}?{urlencode(query, doseq=True, safe=',:', quote_via=quote)}"


def _presence(column: Column) -> Column:
    return sa.case((column.is_(None), 0), else_=1)


def _beyond(column: Column, value: Any, wanted: Page) -> Column:
    beyond: Column = column < value if wanted.descending else column > value
    return beyond
