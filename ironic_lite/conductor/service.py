"""servicing: the steps of a request on a machine that keeps its instance."""

from __future__ import annotations

from typing import Any

from ironic_lite.conductor import flow, planning, stepping
from ironic_lite.conductor.flow import Flow, Request
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.conductor.stepping import Ending
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from ironic_lite.domain.states import Fault
from ironic_lite.domain.steps import Plan, StepKind
from ironic_lite.drivers import registry
from ironic_lite.drivers.steps import Outcome


def _begin(node: Node, event: Event, request: Request) -> dict[str, Any]:
    flow.demand_out_of_maintenance(node, event)
    registry.power(node).check(node)
    steps = planning.asked(node, StepKind.SERVICE, request.steps, without_ramdisk=request.disable_ramdisk)
    return Plan(StepKind.SERVICE, steps).written(node.driver_internal_info)


def _work(lock: NodeLock, outcome: Outcome | None) -> Ending:
    return (yield from stepping.run(lock, StepKind.SERVICE, outcome))


def _give_up(lock: NodeLock, failure: str | None) -> dict[str, Any]:
    return flow.faulted(lock.node, StepKind.SERVICE, Fault.SERVICE, failure)


SERVICING = Flow(_work, _begin, _give_up, StepKind.SERVICE)
