"""The statements on traits of nodes.

Guarantees: traits change only while nobody holds their node, and only as they were read: each change counts the node's
`revision` up. A node goes with its traits (foreign key).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from ironic_lite.db import nodes
from ironic_lite.db.engine import Database
from ironic_lite.db.tables import node_traits
from ironic_lite.db.tables import nodes as nodes_table

t: Final = node_traits.c


class json_list(sa.sql.functions.FunctionElement[Any]):
    """All values of a group as one JSON list, in no order; null or an empty list for an empty group."""

    inherit_cache = True
    type = sa.JSON()


@compiles(json_list, "sqlite")
def _list_sqlite(element: json_list, compiler: Any, **options: Any) -> str:
    return f"json_group_array({compiler.process(element.clauses, **options)})"


@compiles(json_list, "postgresql")
def _list_postgresql(element: json_list, compiler: Any, **options: Any) -> str:
    return f"json_agg({compiler.process(element.clauses, **options)})"


@compiles(json_list, "mysql", "mariadb")
def _list_mysql(element: json_list, compiler: Any, **options: Any) -> str:
    return f"json_arrayagg({compiler.process(element.clauses, **options)})"


# A column of a SELECT from nodes: their traits, so that a list of nodes with traits is one statement too.
OF_NODE: Final = sa.select(json_list(t.trait)).where(t.node_id == nodes_table.c.id).scalar_subquery().label("traits")


def change(database: Database, node: str, revision: int, *, added: Collection[str], removed: Collection[str]) -> None:
    """Add and remove traits of an unreserved node, given by UUID, that is as it was read.

    Raises `NodeLocked`, `NodeNotFound` or `ChangedMeanwhile`.
    """
    node_id = sa.select(nodes_table.c.id).where(nodes_table.c.uuid == node).scalar_subquery()
    with nodes.changing(database, node, revision, {}) as connection:
        if removed:
            connection.execute(sa.delete(node_traits).where(t.node_id == node_id, t.trait.in_(sorted(removed))))
        if added:
            rows = [{"node_id": node_id, "trait": trait} for trait in sorted(added)]
            connection.execute(sa.insert(node_traits).values(rows))
