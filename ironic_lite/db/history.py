"""The statements on what happened to nodes. Rows are written with the result that they tell of (`nodes.release`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.db.engine import Database
from ironic_lite.db.tables import node_history, nodes

c: Final = node_history.c


def fetch(database: Database, node_id: int, uuid: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Row[Any]:
    """Those columns of one entry of that node (its UUID among them). Raises `NotFound`."""
    query = sa.select(*columns).select_from(node_history.join(nodes)).where(c.node_id == node_id, c.uuid == uuid)
    with database.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        raise errors.NotFound(what=f"Node history record {uuid}")
    return row
