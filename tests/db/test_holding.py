"""Nobody keeps a connection while waiting for a machine, in any flow of the conductor."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from ironic_lite import config
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.cluster.members import Members
from ironic_lite.conductor import boot, caching, inspection, management, modes, power, provision, sensors
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.freshness import Freshness
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.conductor.notifications import Notifier
from ironic_lite.db import conductors, nodes
from ironic_lite.db.engine import Database
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from ironic_lite.domain.states import BootDevice, BootMode, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.fake_parts import conf as fake_conf
from ironic_lite.executors.agenda import Agenda
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool
from tests.builders import a_node
from tests.parts.watching import watching
from tests.waiting import until

DELAYS = ("power_delay", "management_delay", "bios_delay", "firmware_delay", "inspect_delay")
Flow = Callable[[Conductor, Node], object]


@pytest.fixture
def conductor(database: Database) -> Iterator[Conductor]:
    config.load([], program="test", files=[])
    for delay in DELAYS:
        config.CONF.set_override(delay, "0.2", fake_conf.group)
    clock = SystemClock()
    conductors.register(database, conductors.Conductor("h1", "http://127.0.0.1:1", "", {"fake-hardware": {}}))
    kinds = [
        *(Kind(kind, cap=4, critical=True) for kind in (Work.ACTIONS, Work.PROVISIONING)),
        *(Kind(kind, cap=4) for kind in (Work.POWER_SYNC, Work.POWER_RECOVERY)),
    ]
    pool = TaskPool("conductor", 4, kinds, clock)
    agenda = Agenda("agenda", pool, clock)
    agenda.start()
    made = Conductor("h1", database, Members(database, clock), pool, agenda, clock)
    Freshness(made)
    yield made
    agenda.stop(Deadline(clock, 10))
    registry.close_all(Deadline(clock, 10))
    assert pool.drain(Deadline(clock, 10)) == []
    for delay in DELAYS:
        config.CONF.clear_override(delay, fake_conf.group)
    config.CONF.reset()


def visit(conductor: Conductor, node: Node) -> None:
    """The power sync's: a node that is new to it is asked at once."""
    with watching(conductor) as watch:
        watch.visit(node)


def within_lock(conductor: Conductor, node: Node, flow: Callable[[NodeLock], object]) -> None:
    with NodeLock(conductor, node, "test") as lock:
        flow(lock)


def collector(conductor: Conductor) -> sensors.Collector:
    return sensors.Collector(conductor.sensors, Notifier(conductor.pool, ()), conductor.clock)


def in_driver() -> bool:
    """Whether a thread waits in fake-hardware, and does not ask the database from there."""
    return any("/drivers/fake.py" in files and "/db/engine.py" not in files for files in map(_files, _stacks()))


def _stacks() -> list[object]:
    return [frame for ident, frame in sys._current_frames().items() if ident != threading.get_ident()]


def _files(frame) -> str:
    names = []
    while frame is not None:
        names.append(frame.f_code.co_filename)
        frame = frame.f_back
    return " ".join(names)


def held_in_driver(conductor: Conductor, flow: Callable[[], object]) -> set[int]:
    """How many connections were in use whenever the flow was seen to wait in its driver."""
    pool = conductor.database._engine.pool
    assert isinstance(pool, sa.QueuePool)
    held: list[int] = []

    def ends() -> bool:
        before, count = in_driver(), pool.checkedout()
        if before and in_driver():
            held.append(count)
        return done.done() and conductor.pool.stats().busy == 0

    with ThreadPoolExecutor(1) as client:
        done = client.submit(flow)
        until(ends, 20)
    done.result()
    return set(held)


@pytest.mark.parametrize(
    "flow",
    [
        lambda c, node: power.change_power.run(c, node.uuid, PowerTarget("power on")),
        visit,
        lambda c, node: boot.get_boot_device.run(c, node.uuid),
        lambda c, node: boot.supported_boot_devices.run(c, node.uuid),
        lambda c, node: boot.set_boot_device.run(c, node.uuid, BootDevice.PXE),
        lambda c, node: modes.change_boot_mode.run(c, node.uuid, BootMode.BIOS),
        lambda c, node: modes.change_secure_boot.run(c, node.uuid, True),
        lambda c, node: management.inject_nmi.run(c, node.uuid),
        lambda c, node: collector(c).collect(node),
        lambda c, node: within_lock(c, node, inspection.inspect),
        lambda c, node: within_lock(c, node, caching.cache_bios),
        lambda c, node: within_lock(c, node, caching.cache_firmware),
        lambda c, node: provision.change_provision_state.run(c, node.uuid, Event.MANAGE),
    ],
)
def test_no_connection_is_held_while_a_driver_works(conductor: Conductor, flow: Flow):
    node = a_node(conductor.database, provision_state="enroll", power_state="power off")
    assert held_in_driver(conductor, lambda: flow(conductor, node)) == {0}


def test_the_count_sees_a_connection_that_is_held(conductor: Conductor):
    """What the test above would say of a flow that does it wrong."""
    node = a_node(conductor.database, power_state="power off")

    def wrong() -> None:
        with conductor.database.read():
            power.change_power.run(conductor, node.uuid, PowerTarget("power on"))
            until(lambda: conductor.pool.stats().busy == 0)

    assert held_in_driver(conductor, wrong) == {1}
    until(lambda: nodes.get(conductor.database, node.uuid).power_state == "power on")
