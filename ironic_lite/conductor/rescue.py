"""rescuing and unrescuing: the owner of a broken instance logs in to a ramdisk, and goes back to the instance."""

from __future__ import annotations

from typing import Any

from ironic_lite.clock import Deadline
from ironic_lite.conductor import flow
from ironic_lite.conductor.flow import Flow, Request
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.conductor.stepping import End, Ending
from ironic_lite.config import Int, Section
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import Attempt
from ironic_lite.drivers.steps import Outcome

PASSWORD_KEY = "rescue_password"  # noqa: S105  # a key of instance_info, which no answer shows


class conf(Section, name="conductor"):
    """Rescues."""

    rescue_timeout = Int(1800, min=1, help="Seconds that booting a machine into its rescue, or out of it, may take.")


def _begin(node: Node, event: Event, request: Request) -> dict[str, Any]:
    _check(node, event)
    return {"instance_info": node.instance_info | {PASSWORD_KEY: request.rescue_password}}


def _begin_back(node: Node, event: Event, _request: Request) -> dict[str, Any]:
    _check(node, event)
    return {}


def _check(node: Node, event: Event) -> None:
    flow.demand_out_of_maintenance(node, event)
    registry.power(node).check(node)
    registry.rescue(node).check(node)


def _work(lock: NodeLock, _outcome: Outcome | None) -> Ending:
    yield from registry.rescue(lock.node).rescue(lock.node, _attempt(lock))
    return End(Event.DONE, "The machine runs its rescue.", _without_password(lock.node))


def _work_back(lock: NodeLock, _outcome: Outcome | None) -> Ending:
    yield from registry.rescue(lock.node).unrescue(lock.node, _attempt(lock))
    return End(Event.DONE, "The machine runs its instance again.", _without_password(lock.node))


def _attempt(lock: NodeLock) -> Attempt:
    return lock.attempt(Deadline(lock.conductor.clock, conf.rescue_timeout))


def _give_up(lock: NodeLock, _failure: str | None) -> dict[str, Any]:
    return _without_password(lock.node)


def _without_password(node: Node) -> dict[str, Any]:
    return {"instance_info": {key: value for key, value in node.instance_info.items() if key != PASSWORD_KEY}}


RESCUING = Flow(_work, _begin, _give_up)
UNRESCUING = Flow(_work_back, _begin_back)
