"""The node's way through the provision states: what a verb begins, and how one working state leads to the next.

What is done in a working state is its `Flow`; the event that ends it leads, by the table of `domain/provision.py`, to
another state. If that has a flow too, the same work goes on with it; if not, the lock is released there.

*Guarantees.* (1) A verb is checked whole while its caller waits, and a refusal has changed nothing. (2) Each change of
state is one transaction with its entry in the history. (3) Work whose conductor ended, however it ended, is taken up
again from the row (`take_up`), by the next life or by whoever owns the node then: no node stays in a working state.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from typing import Any, Final

from ironic_lite import errors
from ironic_lite.cluster import rpc
from ironic_lite.conductor import adopt, clean, deploy, inspecting, rescue, service, verify
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.flow import NOTHING, Flow, Request
from ironic_lite.conductor.locks import NodeLock, Pausing, Result
from ironic_lite.conductor.stepping import WAITING_KEY
from ironic_lite.config import Int, Section
from ironic_lite.db import history, nodes
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import KEEPS_TARGET, WORK_OF, Event, accepts, next_state, target_of
from ironic_lite.domain.states import STABLE, WORKING, Provision
from ironic_lite.domain.steps import plan_of
from ironic_lite.drivers.steps import Done, Outcome

LOG = logging.getLogger(__name__)

FLOWS: Final[Mapping[Provision, Flow]] = {
    Provision.VERIFYING: verify.VERIFYING,
    Provision.INSPECTING: inspecting.INSPECTING,
    Provision.CLEANING: clean.CLEANING,
    Provision.DEPLOYING: deploy.DEPLOYING,
    Provision.DELETING: deploy.DELETING,
    Provision.ADOPTING: adopt.ADOPTING,
    Provision.RESCUING: rescue.RESCUING,
    Provision.UNRESCUING: rescue.UNRESCUING,
    Provision.SERVICING: service.SERVICING,
}
# What ends work of which nothing is wrong: the conductor stops, has nobody to go on with it, or no database.
TO_BE_TAKEN_UP: Final = (errors.Interrupted, errors.Stopping, errors.NoFreeWorker, errors.DatabaseUnavailable)
# Of the nodes in these states only so many may be in the cluster: the option, how a sentence says it, the states.
Crowd = tuple[str, str, frozenset[Provision]]
DEPLOYS: Final[Crowd] = (
    "max_concurrent_deploy", "deploying", frozenset({Provision.DEPLOYING, Provision.DEPLOY_WAIT}),
)  # fmt: skip
CLEANS: Final[Crowd] = (
    "max_concurrent_clean",
    "in deletion or cleaning",
    frozenset({Provision.DELETING, Provision.CLEANING, Provision.CLEAN_WAIT}),
)
CROWDS: Final = {Provision.DEPLOYING: DEPLOYS, Provision.DELETING: CLEANS, Provision.CLEANING: CLEANS}


class conf(Section, name="conductor"):
    """How many nodes of the whole cluster at a time."""

    max_concurrent_deploy = Int(250, min=1, mutable=True, help="Nodes that may be deploying at a time in the cluster.")
    max_concurrent_clean = Int(
        50, min=1, mutable=True, help="Nodes that may be in deletion or cleaning at a time in the cluster."
    )


@rpc.method
def change_provision_state(conductor: Conductor, node: str, event: Event, request: Request = NOTHING) -> None:
    """Check the verb while the caller waits; carry the node on in the background where there is work to do."""
    row = nodes.get(conductor.database, node)
    if row.reservation is not None:
        raise errors.NodeLocked(node=row.uuid, host=row.reservation, purpose=row.lock_purpose)
    if not accepts(row.provision_state, event):
        raise errors.InvalidState(node=row.uuid, verb=event, state=row.provision_state)
    after = next_state(row.uuid, row.provision_state, event)
    if event is Event.ABORT:
        _abort(conductor, row, after)
    elif event is Event.UNHOLD:
        _unhold(conductor, row)
    elif after in FLOWS:
        _begin(conductor, row, event, after, request)
    else:
        with NodeLock(conductor, row, event) as lock:
            lock.finish(_moved(row, event, after, {"last_error": None}, f'By "{event}".'))


def _begin(conductor: Conductor, row: Node, event: Event, after: Provision, request: Request) -> None:
    _demand_room(conductor, row, after)
    columns = {"last_error": None} | FLOWS[after].begin(row, event, request)
    coming = _moved(row, event, after, columns, f'By "{event}".')
    with conductor.pool.slot(Work.PROVISIONING, f"{event} of node {row.label}") as slot:
        lock = NodeLock(conductor, row, event, coming.changes, coming.event)
        lock.continue_in(slot, _carry, _fail)


def _demand_room(conductor: Conductor, row: Node, after: Provision) -> None:
    """Raise `TooManyAtOnce` if the cluster is full of such nodes; two verbs at the same moment may both pass."""
    if after not in CROWDS:
        return
    option, what, states = CROWDS[after]
    limit, count = getattr(conf, option), nodes.count_in(conductor.database, states)
    if count >= limit:
        raise errors.TooManyAtOnce(node=row.uuid, count=count, what=what, option=option, limit=limit)


def _abort(conductor: Conductor, row: Node, after: Provision) -> None:
    """End what waits. A step that cannot be interrupted is the last one."""
    if after in STABLE and row.maintenance:  # from service failed
        raise errors.Conflict(
            reason=f"Node {row.uuid} is in maintenance mode; end that before its service is given up."
        )
    flow = _flow_of(row)
    plan = plan_of(row, flow.kind) if flow is not None and flow.kind is not None else None
    marked = plan.to_abort.written(row.driver_internal_info) if plan is not None and plan.current is not None else {}
    if plan is not None and plan.current is not None and not plan.current.abortable:
        with NodeLock(conductor, row, Event.ABORT) as lock:
            text = f"It is to end after step {plan.current.label}, which cannot be interrupted: by request."
            lock.finish(Result(marked, history.Event("provisioning", "INFO", text)))
        return
    with conductor.pool.slot(Work.PROVISIONING, f"abort of node {row.label}") as slot:
        lock = NodeLock(conductor, row, Event.ABORT, marked)  # marked, so that a crash does not take the abort back
        lock.continue_in(slot, _give_up, _fail, after)


def _give_up(lock: NodeLock, after: Provision) -> Result:
    text = f'The operation in state "{lock.node.provision_state}" was aborted by request.'
    columns = _tidied(lock, None) | {"last_error": None if after in STABLE else text}
    return _moved(lock.node, Event.ABORT, after, columns, text)


def _unhold(conductor: Conductor, row: Node) -> None:
    """Go on after the step that holds: through the waiting state, as the table has it."""
    waiting = next_state(row.uuid, row.provision_state, Event.UNHOLD)
    with conductor.pool.slot(Work.PROVISIONING, f"unhold of node {row.label}") as slot:
        coming = _moved(row, Event.UNHOLD, waiting, {}, 'By "unhold".')
        lock = NodeLock(conductor, row, Event.UNHOLD, coming.changes, coming.event)
        lock.continue_in(slot, _resume, _fail, Done())


def carry_on(conductor: Conductor, row: Node, outcome: Outcome) -> None:
    """Go on with a node that waited, as what it waited for has ended. Raises as `NodeLock`, and `NoFreeWorker`."""
    with conductor.pool.slot(Work.PROVISIONING, f"going on with node {row.label}") as slot:
        lock = NodeLock(conductor, row, Event.RESUME)
        lock.continue_in(slot, _resume, _fail, outcome)


def time_out(conductor: Conductor, row: Node, waited_s: float) -> None:
    """Fail a node that waited for too long. Raises as `carry_on`."""
    why = row.driver_internal_info.get(WAITING_KEY, {}).get("why", "an answer")
    reason = f"It waited for {why} for {waited_s:.0f} s, which is longer than allowed."
    with conductor.pool.slot(Work.PROVISIONING, f"time-out of node {row.label}") as slot:
        lock = NodeLock(conductor, row, "time-out")
        lock.continue_in(slot, _fail, _fail, reason)


def take_up(conductor: Conductor, uuid: str) -> None:
    """Go on, here and now, with a node in a working state on which nobody works: its conductor ended."""
    row = nodes.get(conductor.database, uuid)
    if row.reservation is None and row.provision_state in WORKING:
        LOG.warning('Node %s is taken up in state "%s": nobody works on it.', row.label, row.provision_state)
        NodeLock(conductor, row, "taking up").run(_carry, _fail)


def _resume(lock: NodeLock, outcome: Outcome) -> Pausing:
    def resumed() -> Pausing:
        after = next_state(lock.node.uuid, lock.node.provision_state, Event.RESUME)
        coming = _moved(lock.node, Event.RESUME, after, _without_wait(lock.node, {}), "What it waited for has ended.")
        lock.write(coming.event, **coming.changes)
        return (yield from _walk(lock, outcome))

    return (yield from _kept_on(lock, resumed()))


def _carry(lock: NodeLock) -> Pausing:
    return (yield from _kept_on(lock, _walk(lock, None)))


def _kept_on(lock: NodeLock, work: Pausing) -> Pausing:
    """The work; but if it ended through nobody's fault, its node stays as it is, and is taken up."""
    try:
        return (yield from work)
    except TO_BE_TAKEN_UP as exc:
        LOG.warning("Node %s: %s", lock.node.label, exc)
        return Result(_without_target(lock.node))
    except errors.Aborted as exc:
        return _failed(lock, str(exc), failure=False)


def _walk(lock: NodeLock, outcome: Outcome | None) -> Pausing:
    """Do the work of the node's state, and of each state that it leads to, until one has none."""
    while True:
        end = FLOWS[lock.node.provision_state].work(lock, outcome)
        if isinstance(end, Generator):
            end = yield from end
        outcome = None
        after = next_state(lock.node.uuid, lock.node.provision_state, end.event)
        coming = _moved(lock.node, end.event, after, end.changes, end.sentence)
        if after not in FLOWS:
            return coming
        lock.write(coming.event, **coming.changes)


def _fail(lock: NodeLock, reason: str) -> Result:
    return _failed(lock, reason, failure=True)


def _failed(lock: NodeLock, reason: str, *, failure: bool) -> Result:
    """End the work of the node's state, or its wait; `failure`: it was not what somebody asked for."""
    state = lock.node.provision_state
    text = f'Node {lock.node.uuid} failed in state "{state}": {reason}'
    after = next_state(lock.node.uuid, state, Event.FAIL)
    columns = _tidied(lock, text if failure else None) | {"last_error": text}
    return _moved(lock.node, Event.FAIL, after, columns, text, "ERROR")


def _tidied(lock: NodeLock, failure: str | None) -> dict[str, Any]:
    """What is written of a way that was given up. It is given up whatever tidying up meets."""
    flow = _flow_of(lock.node)
    try:
        columns = flow.give_up(lock, failure) if flow is not None else {}
    except Exception:
        LOG.exception("Node %s: tidying up failed.", lock.node.label)
        columns = {}
    return _without_target(lock.node) | _without_wait(lock.node, columns)


def _without_target(node: Node) -> dict[str, Any]:
    """A change of power that was a step's is over with it."""
    return {} if node.target_power_state is None else {"target_power_state": None}


def _moved(
    node: Node, event: Event, after: Provision, columns: Mapping[str, Any], sentence: str, severity: str = "INFO"
) -> Result:
    """A change of state with all that is written with it, and its entry in the history."""
    if after in STABLE:
        target = None
    elif event in KEEPS_TARGET and node.target_provision_state is not None:
        target = node.target_provision_state
    else:
        target = target_of(after)
    states = {"provision_state": after, "target_provision_state": target}
    return Result(states | dict(columns), history.Event("provisioning", severity, sentence))


def _without_wait(node: Node, columns: dict[str, Any]) -> dict[str, Any]:
    """The columns of a node that waits no longer."""
    info = columns.get("driver_internal_info", node.driver_internal_info)
    if WAITING_KEY not in info:
        return columns
    return columns | {"driver_internal_info": {key: value for key, value in info.items() if key != WAITING_KEY}}


def _flow_of(node: Node) -> Flow | None:
    return FLOWS.get(WORK_OF.get(node.provision_state, node.provision_state))
