"""deploying and deleting: an instance comes onto a machine, and goes.

Its config drive stays in instance_info until it goes, for a rebuild that brings none; no answer of the API shows it.
"""

from __future__ import annotations

import logging
from typing import Any

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.conductor import flow, planning, power, stepping
from ironic_lite.conductor.flow import Flow, Request
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.conductor.stepping import End, Ending
from ironic_lite.config import Bool, Int, Section
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from ironic_lite.domain.states import Power, PowerTarget
from ironic_lite.domain.steps import Plan, StepKind, without_plan
from ironic_lite.drivers import registry
from ironic_lite.drivers.steps import Outcome

LOG = logging.getLogger(__name__)


class conf(Section, name="deploy"):
    """Deployments."""

    power_off_after_deploy_failure = Bool(
        True, mutable=True, help="Whether a machine is powered off whose deployment failed or was aborted."
    )
    tear_down_timeout = Int(1800, min=1, help="Seconds that the end of an instance may take.")


def _begin(node: Node, event: Event, request: Request) -> dict[str, Any]:
    flow.demand_out_of_maintenance(node, event)
    if event is Event.REBUILD and node.protected:
        raise errors.Forbidden(reason=f"Node {node.uuid} is protected and can not be rebuilt.")
    registry.power(node).check(node)
    registry.deploy(node).check(node)
    steps = planning.deployment(node, request.steps)
    columns = Plan(StepKind.DEPLOY, steps).written(node.driver_internal_info)
    if request.configdrive:
        columns["instance_info"] = node.instance_info | {"configdrive": request.configdrive}
    return columns


def _work(lock: NodeLock, outcome: Outcome | None) -> Ending:
    return (yield from stepping.run(lock, StepKind.DEPLOY, outcome))


def _give_up(lock: NodeLock, _failure: str | None) -> dict[str, Any]:
    columns = without_plan(lock.node.driver_internal_info, StepKind.DEPLOY)
    if not conf.power_off_after_deploy_failure or lock.node.disable_power_off:
        return columns
    try:
        power.bring_here(lock, PowerTarget.OFF)
    except errors.Error as exc:
        LOG.warning("Node %s stays as it is after its deployment: %s", lock.node.label, exc)
        return columns
    return columns | {"power_state": Power.OFF}


def _begin_deletion(node: Node, _event: Event, _request: Request) -> dict[str, Any]:
    if node.protected:
        raise errors.Forbidden(reason=f"Node {node.uuid} is protected and can not be undeployed.")
    registry.power(node).check(node)
    return {}


def _tear_down(lock: NodeLock, _outcome: Outcome | None) -> Ending:
    """The instance is gone for good: nothing of it may be left on the node."""
    if (driver := registry.deploy_or_none(lock.node)) is not None:
        yield from driver.tear_down(lock.node, lock.attempt(Deadline(lock.conductor.clock, conf.tear_down_timeout)))
    changes: dict[str, Any] = {
        "instance_uuid": None,
        "instance_info": {},
        "instance_name": None,
        "driver_internal_info": {},
        "deploy_step": {},
        "service_step": {},
    }
    return End(Event.CLEAN, "The instance was torn down.", changes)


DEPLOYING = Flow(_work, _begin, _give_up, StepKind.DEPLOY)
DELETING = Flow(_tear_down, _begin_deletion)
