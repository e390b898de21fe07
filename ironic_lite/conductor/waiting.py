"""Sees to nodes that wait: asks whether what they wait for has ended, and ends waits that take too long.

*Guarantees.* (1) Whoever waits has one entry on the agenda, and no thread. It is made whenever the node's row is read
or written in a waiting state, so a restart, or another owner, knows of it as well. (2) Whether a wait is over is
decided by the row as it is then and by the database's clock. (3) A look that could not be taken comes again, and who
found no room on the agenda is taken note of by the house-keeping.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.conductor import provision, stepping
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.config import Int, Section
from ironic_lite.db import nodes
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import WORK_OF
from ironic_lite.domain.states import WAITING, Provision
from ironic_lite.domain.steps import HOLD, Plan, plan_of
from ironic_lite.drivers.steps import Failed, Outcome, Wait

LOG = logging.getLogger(__name__)
AGAIN_S: Final = 5.0  # when a look could not be taken
AT_ONCE_S: Final = 0.05


class conf(Section, name="conductor"):
    """How long nodes wait."""

    deploy_callback_timeout = Int(1800, min=0, help="Seconds that a node may wait while it is deployed; 0: for ever.")
    clean_callback_timeout = Int(1800, min=0, help="Seconds that a node may wait while it is cleaned; 0: for ever.")
    service_callback_timeout = Int(1800, min=0, help="Seconds that a node may wait while it is serviced; 0: for ever.")
    inspect_wait_timeout = Int(1800, min=0, help="Seconds that a node may wait while it is inspected; 0: for ever.")
    rescue_callback_timeout = Int(1800, min=0, help="Seconds that a node may wait while it is rescued; 0: for ever.")


class Waiting:
    """One conductor's. Any thread may call `place`."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._left_out = False  # somebody found no room on the agenda

    def place(self, rows: Iterable[Node], _gone: Iterable[str] = ()) -> None:
        """Take note of those that wait."""
        now = self._conductor.clock.now()
        for row in rows:
            if row.provision_state in WAITING and row.reservation is None:
                since = row.provision_updated_at or now
                self._arm(row, max(0.0, (now - since).total_seconds()))

    def make_up(self) -> None:
        """Take note of everybody who waits, if somebody was left out. Raises `DatabaseUnavailable`."""
        if self._left_out:
            self._left_out = False
            self.place(nodes.in_states(self._conductor.database, WAITING))

    def _arm(self, row: Node, waited_s: float) -> None:
        delays = [when - waited_s for when in (_check_after_s(row), _limit_s(row)) if when is not None]
        if delays:
            self._look_after(row.uuid, max(AT_ONCE_S, min(delays)))

    def _look_after(self, uuid: str, delay_s: float) -> None:
        look = partial(self._look, uuid)
        try:
            entry = self._conductor.agenda.after(delay_s, Work.WAITS, f"wait of node {uuid}", look, key=("wait", uuid))
        except errors.Stopping:
            return  # the next life reads the row
        except errors.AgendaFull as exc:
            LOG.warning("%s", exc)
            self._left_out = True
            return
        entry.add_done_callback(partial(self._again_if_failed, uuid))

    def _again_if_failed(self, uuid: str, entry: Future[Any]) -> None:
        if not entry.cancelled() and entry.exception(0) is not None:
            self._look_after(uuid, AGAIN_S)

    # In the pool.

    def _look(self, uuid: str) -> None:
        try:
            row, waited_s = nodes.waiting(self._conductor.database, uuid)
        except errors.NodeNotFound:
            return
        ours = self._conductor.owns(row.uuid, row.driver, row.conductor_group)
        if row.provision_state not in WAITING or row.reservation is not None or not ours:
            return  # who changes that writes the row, and that is placed
        try:
            self._settle(row, waited_s)
        except (errors.NodeLocked, errors.ChangedMeanwhile):
            return  # as above

    def _settle(self, row: Node, waited_s: float) -> None:
        limit_s, check_after_s = _limit_s(row), _check_after_s(row)
        if limit_s is not None and waited_s >= limit_s and not row.maintenance:
            provision.time_out(self._conductor, row, waited_s)
        elif check_after_s is None or waited_s < check_after_s:
            self._arm(row, waited_s)
        elif isinstance(outcome := self._outcome(row), Wait):
            self._look_after(row.uuid, max(1.0, check_after_s))
        else:
            provision.carry_on(self._conductor, row, outcome)

    def _outcome(self, row: Node) -> Outcome:
        plan = _plan(row)
        if plan is None or plan.current is None:
            return Wait("somebody")
        try:
            return stepping.check(self._conductor, row, plan.current)
        except errors.BMCError as exc:
            LOG.info("Node %s can't be asked how far it is, and is asked again: %s", row.label, exc)
            return Wait("its BMC")
        except errors.Error as exc:
            return Failed(str(exc).removesuffix("."))


def _check_after_s(row: Node) -> float | None:
    """None if somebody will say so. Nothing to wait for has who was asked to unhold, when its conductor ended."""
    told = row.driver_internal_info.get(stepping.WAITING_KEY)
    if told is not None:
        return msgspec.convert(told, Wait).check_after_s
    plan = _plan(row)
    return 0.0 if plan is not None and plan.current is not None and plan.current.step == HOLD else None


def _plan(row: Node) -> Plan | None:
    kind = provision.FLOWS[WORK_OF[row.provision_state]].kind
    return plan_of(row, kind) if kind is not None else None


def _limit_s(row: Node) -> float | None:
    """The option that bounds the wait; None if nothing does, or as long as the node is in maintenance mode."""
    limits = {
        Provision.DEPLOY_WAIT: conf.deploy_callback_timeout,
        Provision.CLEAN_WAIT: conf.clean_callback_timeout,
        Provision.SERVICE_WAIT: conf.service_callback_timeout,
        Provision.INSPECT_WAIT: conf.inspect_wait_timeout,
        Provision.RESCUE_WAIT: conf.rescue_callback_timeout,
    }
    return (limits[row.provision_state] or None) if not row.maintenance else None
