"""What a way of a node is made of: what a verb asks, and what is done in the working state that it leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.conductor.stepping import End, Ending
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from ironic_lite.domain.states import Fault
from ironic_lite.domain.steps import AskedStep, StepKind, plan_of, without_plan
from ironic_lite.drivers import registry
from ironic_lite.drivers.steps import Outcome


class Request(msgspec.Struct, frozen=True):
    """What stands beside a verb."""

    steps: list[AskedStep] = []
    disable_ramdisk: bool = False
    configdrive: dict[str, Any] | str | None = None
    rescue_password: str | None = None


NOTHING: Final = Request()


def needs_power(node: Node, _event: Event, _request: Request) -> dict[str, Any]:
    """What most ways need: a power interface with all that it wants to know."""
    registry.power(node).check(node)
    return {}


def leaves_nothing(_lock: NodeLock, _failure: str | None) -> dict[str, Any]:
    """Of a way that has nothing to tidy up."""
    return {}


class Flow(msgspec.Struct, frozen=True):
    """One working state, with the states in which its work waits or holds.

    `begin` checks a verb while its caller waits, and returns what is written as the state is entered; it asks no BMC.
    `work` does the work; it gets the outcome that the node waited for, and without one begins, or goes on after a
    crash: it may be called again at any point. It may yield pauses. `give_up` tidies up after a failure, or an abort
    (None), and returns what is written then.
    """

    work: Callable[[NodeLock, Outcome | None], End | Ending]
    begin: Callable[[Node, Event, Request], dict[str, Any]] = needs_power
    give_up: Callable[[NodeLock, str | None], dict[str, Any]] = leaves_nothing
    kind: StepKind | None = None


def demand_out_of_maintenance(node: Node, event: Event) -> None:
    """Raise `NodeInMaintenance` if it is."""
    if node.maintenance:
        raise errors.NodeInMaintenance(what=event, node=node.uuid)


def faulted(node: Node, kind: StepKind, fault: Fault, failure: str | None) -> dict[str, Any]:
    """The columns of a node whose steps failed: in maintenance if one had begun, for nobody knows what it left behind.

    Maintenance that somebody else set keeps its reason.
    """
    plan, columns = plan_of(node, kind), without_plan(node.driver_internal_info, kind)
    if failure is None or plan is None or plan.current is None or node.maintenance:
        return columns
    return columns | {"maintenance": True, "maintenance_reason": failure, "fault": fault}
