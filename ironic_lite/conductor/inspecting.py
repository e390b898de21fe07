"""inspecting: what a machine is made of, told by its BMC."""

from __future__ import annotations

from typing import Any

from ironic_lite.conductor import flow, inspection
from ironic_lite.conductor.flow import Flow, Request
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.conductor.stepping import End
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from ironic_lite.drivers import registry
from ironic_lite.drivers.steps import Outcome


def _begin(node: Node, event: Event, request: Request) -> dict[str, Any]:
    registry.inspect(node).check(node)
    return flow.needs_power(node, event, request)


def _work(lock: NodeLock, _outcome: Outcome | None) -> End:
    began = lock.conductor.clock.now()
    changes = inspection.inspect(lock)
    times = {"inspection_started_at": began, "inspection_finished_at": lock.conductor.clock.now()}
    return End(Event.DONE, "Inspected: the inventory is kept, and missing ports were added.", {**changes, **times})


INSPECTING = Flow(_work, _begin)
