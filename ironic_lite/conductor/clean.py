"""cleaning: automated, on the way to available, or with the steps of a request, and then back to manageable."""

from __future__ import annotations

from typing import Any

import msgspec

from ironic_lite import errors
from ironic_lite.conductor import flow, planning, stepping
from ironic_lite.conductor.flow import Flow, Request
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.conductor.stepping import End, Ending
from ironic_lite.config import Bool, Section
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from ironic_lite.domain.states import Fault, Provision
from ironic_lite.domain.steps import Plan, StepKind, plan_of
from ironic_lite.drivers import registry
from ironic_lite.drivers.steps import Outcome


class conf(Section, name="conductor"):
    """Cleaning."""

    automated_clean = Bool(True, help="Whether nodes are cleaned on their way to available; a node may say otherwise.")
    allow_provisioning_in_maintenance = Bool(
        True, mutable=True, help="Whether a node in maintenance mode may be made available."
    )


def _begin(node: Node, event: Event, request: Request) -> dict[str, Any]:
    if event is Event.CLEAN:
        return _begin_manual(node, request)
    if node.retired:
        raise errors.Invalid(reason=f"Node {node.uuid} is retired and can not be made available.")
    if not conf.allow_provisioning_in_maintenance:
        flow.demand_out_of_maintenance(node, event)
    registry.power(node).check(node)
    return {}


def _begin_manual(node: Node, request: Request) -> dict[str, Any]:
    flow.demand_out_of_maintenance(node, Event.CLEAN)
    registry.power(node).check(node)
    steps = planning.asked(node, StepKind.CLEAN, request.steps, without_ramdisk=request.disable_ramdisk)
    manual = {"target_provision_state": Provision.MANAGEABLE}
    return Plan(StepKind.CLEAN, steps).written(node.driver_internal_info) | manual


def _work(lock: NodeLock, outcome: Outcome | None) -> Ending:
    after = _after(lock.node)
    if plan_of(lock.node, StepKind.CLEAN) is None:
        wanted = conf.automated_clean if lock.node.automated_clean is None else lock.node.automated_clean
        if not wanted:
            return End(after, "Automated cleaning is off.")
        if steps := planning.automatic(lock.node, StepKind.CLEAN):
            lock.write(**Plan(StepKind.CLEAN, steps).written(lock.node.driver_internal_info))
    end = yield from stepping.run(lock, StepKind.CLEAN, outcome)
    return msgspec.structs.replace(end, event=after) if end.event is Event.DONE else end


def _after(node: Node) -> Event:
    """Manual cleaning leads back; and a retired node is never available."""
    manageable = node.retired or node.target_provision_state == Provision.MANAGEABLE
    return Event.MANAGE if manageable else Event.DONE


def _give_up(lock: NodeLock, failure: str | None) -> dict[str, Any]:
    return flow.faulted(lock.node, StepKind.CLEAN, Fault.CLEAN, failure)


CLEANING = Flow(_work, _begin, _give_up, StepKind.CLEAN)
