"""The node's way through the provision states: what a verb begins, and what is done in each working state.

A handler does the work of one state and returns the event that ends it, with what else is to be written. The table of
`domain/provision.py` says where the event leads; if that state has a handler too, the same work goes on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.locks import NodeLock, Result
from ironic_lite.config import Bool, Section
from ironic_lite.db import nodes
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event, next_state, target_of
from ironic_lite.domain.states import STABLE, Provision
from ironic_lite.drivers import registry

LOG = logging.getLogger(__name__)


class conf(Section, name="conductor"):
    """Cleaning."""

    automated_clean = Bool(True, help="Whether nodes are cleaned on their way to available; a node may say otherwise.")


class End(msgspec.Struct, frozen=True):
    """How a state's work ended: the event, what is written with it, and a sentence for the history."""

    event: Event
    sentence: str
    changes: dict[str, Any] = {}


@rpc.method
def change_provision_state(conductor: Conductor, node: str, event: Event) -> None:
    """Check the verb while the caller waits; carry the node on in the background where there is work to do."""
    row = nodes.get(conductor.database, node)
    if row.reservation is not None:
        raise errors.NodeLocked(node=row.uuid, host=row.reservation, purpose=row.lock_purpose)
    after = next_state(row.uuid, row.provision_state, event)
    _check_verb(row, event)
    if after not in HANDLERS:
        with NodeLock(conductor, row, event) as lock:
            lock.finish(_without_work(row, event, after))
        return
    registry.power(row).check(row)
    with conductor.pool.slot(Work.ACTIONS, f"{event} of node {row.label}") as slot:
        lock = NodeLock(conductor, row, event, _entering(after) | {"last_error": None})
        lock.continue_in(slot, _carry, _fail)


def _check_verb(node: Node, event: Event) -> None:
    if event is Event.DELETE and node.protected:
        raise errors.Forbidden(reason=f"Node {node.uuid} is protected and can not be undeployed.")
    if event is Event.PROVIDE and node.retired:
        raise errors.Invalid(reason=f"Node {node.uuid} is retired and can not be made available.")


def _entering(state: Provision) -> dict[str, Any]:
    return {"provision_state": state, "target_provision_state": target_of(state)}


def _without_work(node: Node, event: Event, after: Provision) -> Result:
    """A verb that only moves the node: nothing runs on it here, so nothing has to be ended first."""
    changes = _entering(after) | {"last_error": None}
    text = f'Provision state changed from "{node.provision_state}" to "{after}" by "{event}".'
    if event is Event.ABORT and after not in STABLE:
        text = f'The operation in state "{node.provision_state}" was aborted by request.'
        changes["last_error"] = text
    return Result(changes, nodes.Event("provisioning", "INFO", text))


def _carry(lock: NodeLock) -> Result:
    """Do the work of the node's state, and of each state that it leads to, until one has none."""
    while True:
        end = HANDLERS[lock.node.provision_state](lock)
        after = next_state(lock.node.uuid, lock.node.provision_state, end.event)
        if after not in HANDLERS:
            return Result(_entering(after) | end.changes, nodes.Event("provisioning", "INFO", end.sentence))
        lock.write(**_entering(after), **end.changes)


def _fail(lock: NodeLock, reason: str) -> Result:
    return failure(lock.node, f'Node {lock.node.uuid} failed in state "{lock.node.provision_state}": {reason}')


def failure(node: Node, text: str) -> Result:
    """What is written when the work of the node's state cannot go on."""
    after = next_state(node.uuid, node.provision_state, Event.FAIL)
    return Result(_entering(after) | {"last_error": text}, nodes.Event("provisioning", "ERROR", text))


def _verify(lock: NodeLock) -> End:
    """Enrolled by an operator: manageable once its BMC has answered."""
    reading = registry.power(lock.node).read(lock.node, lock.conductor.poll_deadline())
    if reading.power is None:
        raise errors.Invalid(reason="the BMC answers, but does not say whether the machine is on or off")
    told = {"power_state": reading.power, "boot_mode": reading.boot_mode, "health": reading.health}
    changes = {name: value for name, value in told.items() if value is not None}
    return End(Event.DONE, f'Verified: the BMC answers and the machine is "{reading.power}".', changes)


def _clean(lock: NodeLock) -> End:
    """On the way to available. The drivers of this version offer no clean steps, so there are none to run."""
    wanted = conf.automated_clean if lock.node.automated_clean is None else lock.node.automated_clean
    done = f"Driver {lock.node.driver} offers no automated clean steps" if wanted else "Automated cleaning is off"
    if lock.node.retired:
        return End(Event.MANAGE, f"{done}; the node is retired and becomes manageable.")
    return End(Event.DONE, f"{done}; the node becomes available.")


def _tear_down(_lock: NodeLock) -> End:
    """The instance is gone for good: nothing of it may be left on the node."""
    changes: dict[str, Any] = {
        "instance_uuid": None,
        "instance_info": {},
        "instance_name": None,
        "driver_internal_info": {},
    }
    return End(Event.CLEAN, "The instance was torn down.", changes)


def _adopt(lock: NodeLock) -> End:
    """A machine that runs already: active, with its power left as it is."""
    reading = registry.power(lock.node).read(lock.node, lock.conductor.poll_deadline())
    changes: dict[str, Any] = {"power_state": reading.power} if reading.power is not None else {}
    return End(Event.DONE, "Adopted as it runs.", changes)


HANDLERS: Final[dict[Provision, Callable[[NodeLock], End]]] = {
    Provision.VERIFYING: _verify,
    Provision.CLEANING: _clean,
    Provision.DELETING: _tear_down,
    Provision.ADOPTING: _adopt,
}
