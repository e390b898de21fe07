"""What a machine is made of and what else can be set of it: what every driver does alike, or says that it cannot."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ironic_lite import errors
from ironic_lite.domain.indicators import Light, Part
from ironic_lite.domain.states import BootMode
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import Attempt, ManagementInterface
from ironic_lite.drivers.settling import finish
from tests.drivers.conftest import Machine, attempt, deadline, lost

Change = Callable[[ManagementInterface, Machine, Attempt], None]
# What IPMI has no word for is refused, and nothing is sent.
NOT_OF_IPMI: dict[str, Change] = {
    "boot mode": lambda management, machine, work: finish(
        management.set_boot_mode(machine.node, BootMode.UEFI, work), work
    ),
    "secure boot": lambda management, machine, work: finish(
        management.set_secure_boot(machine.node, False, work), work
    ),
    "indicators": lambda management, machine, work: _show(management, machine, Light.ON, work),
}
CHANGES: dict[str, Change] = {
    **NOT_OF_IPMI,
    "interrupt": lambda management, machine, work: management.inject_nmi(machine.node, work),
}


def _show(management: ManagementInterface, machine: Machine, light: Light, work: Attempt) -> None:
    found = management.indicators(machine.node, deadline())
    one = next(one for one in found if not one.readonly)
    management.set_indicator(machine.node, one.name, one.component, light, work)


@pytest.mark.parametrize("what", CHANGES)
def test_nothing_is_changed_without_the_lock(machine: Machine, what: str) -> None:
    machine.press(True)
    before = machine.changes()
    refused = errors.UnsupportedByDriver if machine.node.driver == "ipmi" and what in NOT_OF_IPMI else errors.LockLost
    with pytest.raises(refused):
        CHANGES[what](registry.management(machine.node), machine, attempt(permit=lost))
    assert machine.changes() == before


@pytest.mark.parametrize("what", [*NOT_OF_IPMI, "interrupt"])
def test_a_change_is_made_or_refused_with_what_there_is(machine: Machine, what: str) -> None:
    machine.press(True)
    management = registry.management(machine.node)
    if machine.node.driver == "ipmi" and what in NOT_OF_IPMI:
        with pytest.raises(errors.UnsupportedByDriver, match="supported are: boot devices, sensors, interrupts"):
            CHANGES[what](management, machine, attempt())
        return
    if machine.node.driver != "fake-hardware" and what == "interrupt":
        return  # ipmi_sim knows none, and sushy-emulator takes it for a power state: simulated machines are asked
    CHANGES[what](management, machine, attempt())


def test_each_indicator_shows_one_of_its_states(machine: Machine) -> None:
    management = registry.management(machine.node)
    if machine.node.driver == "ipmi":
        with pytest.raises(errors.UnsupportedByDriver):
            management.indicators(machine.node, deadline())
        return
    found = management.indicators(machine.node, deadline())
    assert found
    assert len({one.ident for one in found}) == len(found)
    for one in found:
        assert management.indicator(machine.node, one.name, one.component, deadline()) in one.states
    with pytest.raises(errors.UnsupportedByDriver, match=r"indicator nosuch@chassis; supported are: .*@chassis"):
        management.indicator(machine.node, "nosuch", Part.CHASSIS, deadline())


def test_secure_boot_is_off_or_not_told(machine: Machine) -> None:
    expected = None if machine.node.driver == "ipmi" else False
    assert registry.management(machine.node).secure_boot(machine.node, deadline()) is expected


@pytest.mark.parametrize("kind", ["bios", "firmware", "inspect"])
def test_an_interface_is_there_or_but_a_name(machine: Machine, kind: str) -> None:
    assert registry.has(machine.node, kind) == (machine.node.driver != "ipmi")


def test_bios_settings_are_told_by_name_and_as_text(machine: Machine) -> None:
    if not registry.has(machine.node, "bios"):
        with pytest.raises(errors.UnsupportedByDriver, match="supported are: none"):
            registry.bios(machine.node)
        return
    found = registry.bios(machine.node).settings(machine.node, deadline())
    assert [one.name for one in found] == sorted({one.name for one in found})
    assert bool(found) == (machine.node.driver == "fake-hardware")  # sushy-emulator's fake machine has none


def test_firmware_is_told_by_component(machine: Machine) -> None:
    if registry.has(machine.node, "firmware"):
        found = registry.firmware(machine.node).components(machine.node, deadline())
        assert "bmc" in {one.component for one in found}
        assert all(one.version for one in found)


def test_an_inspection_tells_what_the_bmc_knows(machine: Machine) -> None:
    if registry.has(machine.node, "inspect"):
        found = registry.inspect(machine.node).inspect(machine.node, deadline())
        assert found.system_vendor.manufacturer in {"Sushy Emulator", "fake"}
        assert found.boot.current_boot_mode == BootMode.UEFI
        # sushy-emulator's fake machine tells of no memory, in words that every client has to bear.
        assert (found.memory is None) == (machine.node.driver == "redfish")
