"""Boot mode and secure boot, indicators and interrupts: requests, refusals and what is left of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from ironic_lite import config, errors
from ironic_lite.conductor import management, modes
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.db import nodes
from ironic_lite.db.tables import node_history
from ironic_lite.domain.indicators import Light, Part
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import STABLE, UNSTABLE, BootMode, Provision
from tests.builders import a_node
from tests.clocks import HeldClock
from tests.waiting import until

DEAD = {"redfish_address": "http://127.0.0.1:9", "redfish_username": "admin", "redfish_password": "s3cret"}
Ask = Callable[[Conductor, Node], object]
IN_BACKGROUND: dict[str, Ask] = {
    "boot mode": lambda conductor, node: modes.change_boot_mode.run(conductor, node.uuid, BootMode.BIOS),
    "secure boot": lambda conductor, node: modes.change_secure_boot.run(conductor, node.uuid, True),
}
AT_ONCE: dict[str, Ask] = {
    "interrupt": lambda conductor, node: management.inject_nmi.run(conductor, node.uuid),
    "indicator": lambda conductor, node: management.set_indicator.run(
        conductor, node.uuid, "led", Part.SYSTEM, Light.BLINKING
    ),
}


def redfish(conductor: Conductor, **given: object) -> Node:
    return a_node(
        conductor.database, driver="redfish", power_interface="redfish", management_interface="redfish",
        driver_info=DEAD, **given,
    )  # fmt: skip


def settled(conductor: Conductor, node: Node) -> Node:
    until(lambda: nodes.get(conductor.database, node.uuid).reservation is None)
    return nodes.get(conductor.database, node.uuid)


def history(conductor: Conductor) -> list[tuple[str, str, str]]:
    c = node_history.c
    with conductor.database.read() as connection:
        rows = connection.execute(sa.select(c.event_type, c.severity, c.event).order_by(c.id))
        return [(row.event_type, row.severity, row.event) for row in rows]


def test_a_change_is_recorded_and_lets_go(conductor: Conductor):
    node = a_node(conductor.database, last_error="something old")
    IN_BACKGROUND["boot mode"](conductor, node)
    assert settled(conductor, node).boot_mode == BootMode.BIOS
    IN_BACKGROUND["secure boot"](conductor, node)
    after = settled(conductor, node)
    assert (after.boot_mode, after.secure_boot, after.last_error) == (BootMode.BIOS, True, None)
    modes.change_secure_boot.run(conductor, node.uuid, target=False)
    assert settled(conductor, node).secure_boot is False
    assert history(conductor) == [
        ("boot mode", "INFO", 'The boot mode is now "bios".'),
        ("secure boot", "INFO", "Secure boot is now on."),
        ("secure boot", "INFO", "Secure boot is now off."),
    ]


@pytest.mark.parametrize("what", IN_BACKGROUND)
def test_no_thread_waits_for_a_machine_that_takes_its_time(conductor: Conductor, held: HeldClock, what: str):
    node = a_node(conductor.database)
    # Secure boot is read first, and a reading takes as long in the thread that asks.
    config.CONF.set_override("management_delay", "0.05" if what == "secure boot" else "7", "fake")
    try:
        IN_BACKGROUND[what](conductor, node)
        until(lambda: conductor.pool.stats().busy == 0)
        assert nodes.get(conductor.database, node.uuid).reservation == "h1"
        held.pass_s(7)
    finally:
        config.CONF.clear_override("management_delay", "fake")
    assert settled(conductor, node).last_error is None
    assert len(history(conductor)) == 1


@pytest.mark.parametrize("what", IN_BACKGROUND)
def test_a_failure_says_so_in_last_error_and_history_and_lets_go(conductor: Conductor, what: str):
    node = redfish(conductor)
    IN_BACKGROUND[what](conductor, node)
    after = settled(conductor, node)
    assert (after.boot_mode, after.secure_boot) == (None, None)
    assert after.last_error is not None
    assert after.last_error.startswith(f"Failed to change the {what} of node {node.uuid}: The BMC of node")
    assert "s3cret" not in after.last_error
    assert history(conductor) == [(what, "ERROR", after.last_error)]


@pytest.mark.parametrize("state", sorted(UNSTABLE))
def test_modes_are_not_changed_under_somebody_elses_hands(conductor: Conductor, state: Provision):
    node = a_node(conductor.database, provision_state=state)
    for what, ask in IN_BACKGROUND.items():
        with pytest.raises(errors.Conflict, match=f'The {what} of node .* while it is in state "{state}"'):
            ask(conductor, node)
    assert nodes.get(conductor.database, node.uuid).revision == node.revision


def test_stable_and_unstable_states_exclude_each_other():
    assert not STABLE & UNSTABLE
    assert len(UNSTABLE) == 14  # Ironic's number


@pytest.mark.parametrize("what", [*IN_BACKGROUND, *AT_ONCE])
def test_a_node_that_is_held_is_left(conductor: Conductor, what: str):
    node = a_node(conductor.database)
    with NodeLock(conductor, node, "somebody's work"):
        held = nodes.get(conductor.database, node.uuid)
        with pytest.raises(errors.NodeLocked, match="somebody's work"):
            (IN_BACKGROUND | AT_ONCE)[what](conductor, held)
    assert history(conductor) == []


@pytest.mark.parametrize("what", [*IN_BACKGROUND, *AT_ONCE])
def test_nothing_begins_with_a_driver_info_that_is_wrong(conductor: Conductor, what: str):
    node = a_node(
        conductor.database, driver="redfish", power_interface="redfish", management_interface="redfish", driver_info={}
    )
    with pytest.raises(errors.InvalidDriverInfo, match="redfish_address is missing"):
        (IN_BACKGROUND | AT_ONCE)[what](conductor, node)
    assert nodes.get(conductor.database, node.uuid).revision == node.revision


def test_indicators_and_interrupts_are_recorded(conductor: Conductor):
    node = a_node(conductor.database)
    for ask in AT_ONCE.values():
        ask(conductor, node)
    assert nodes.get(conductor.database, node.uuid).reservation is None
    assert history(conductor) == [
        ("interrupt", "INFO", "A non-maskable interrupt was sent."),
        ("indicator", "INFO", 'Indicator led@system set to "blinking".'),
    ]
    assert management.get_indicator.run(conductor, node.uuid, "led", Part.SYSTEM) == Light.ON
    assert [one.ident for one in management.get_indicators.run(conductor, node.uuid)] == ["led-0@chassis", "led@system"]


@pytest.mark.parametrize("what", AT_ONCE)
def test_a_bmc_that_fails_is_told_to_the_caller_and_lets_go(conductor: Conductor, what: str):
    node = redfish(conductor)
    with pytest.raises(errors.BMCUnreachable):
        AT_ONCE[what](conductor, node)
    assert nodes.get(conductor.database, node.uuid).reservation is None


def test_an_indicator_that_can_only_be_read_stays(conductor: Conductor):
    node = a_node(conductor.database)
    with pytest.raises(
        errors.UnsupportedByDriver, match="changes of indicator led-0@chassis; supported are: led@system"
    ):
        management.set_indicator.run(conductor, node.uuid, "led-0", Part.CHASSIS, Light.OFF)
    assert nodes.get(conductor.database, node.uuid).reservation is None
