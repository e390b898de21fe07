"""A node and what is done with it, on a conductor without a process around it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ironic_lite.conductor import provision
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.flow import NOTHING, Request
from ironic_lite.conductor.waiting import Waiting
from ironic_lite.db import nodes
from ironic_lite.db.engine import seconds_ago
from ironic_lite.db.tables import node_history
from ironic_lite.db.tables import nodes as table
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from tests.builders import a_node
from tests.clocks import HeldClock
from tests.waiting import until


class Story:
    """One node and what is done with it. Every verb has ended when `go` returns, or waits for something."""

    def __init__(self, conductor: Conductor, held: HeldClock) -> None:
        self.conductor, self.held = conductor, held
        self.waiting = Waiting(conductor)
        conductor.freshness.followers.append(self.waiting.place)

    def node(self, state: str, **given: Any) -> Node:
        usual = {"vendor_interface": "scripted", "power_state": "power off"}
        return a_node(self.conductor.database, provision_state=state, **(usual | given))

    def go(self, node: Node, event: Event, request: Request = NOTHING) -> Node:
        provision.change_provision_state.run(self.conductor, node.uuid, event, request)
        return self.settled(node)

    def settled(self, node: Node) -> Node:
        until(lambda: self.now(node).reservation is None)
        return self.now(node)

    def now(self, node: Node) -> Node:
        return nodes.get(self.conductor.database, node.uuid)

    def later(self, node: Node, seconds: float) -> Node:
        """Let that much time pass on the database's clock and on the agenda's."""
        with self.conductor.database.write() as connection:
            old = seconds_ago(round(seconds))
            connection.execute(sa.update(table).where(table.c.uuid == node.uuid).values(provision_updated_at=old))
        before = self.now(node).revision
        self.held.pass_s(seconds)
        until(lambda: self.now(node).revision > before)
        return self.settled(node)

    def history(self, node: Node) -> list[Any]:
        with self.conductor.database.read() as connection:
            query = sa.select(node_history).join(table).where(table.c.uuid == node.uuid).order_by(node_history.c.id)
            return list(connection.execute(query))
