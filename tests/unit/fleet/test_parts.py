"""What machines are made of, as the client that OpenStack uses reads it, unmodified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sushy
from sushy import auth

from ironic_lite.fleet.hardware import Hardware
from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet


@pytest.fixture(scope="module")
def process() -> Iterator[FleetProcess]:
    with fleet(2) as running:
        yield running


def root(bmc: Bmc) -> Any:
    return sushy.Sushy(bmc.url, auth=auth.BasicAuth(USERNAME, PASSWORD), server_side_retries=0, read_timeout=10)


def test_a_machine_is_the_same_each_time_and_another_is_another(process: FleetProcess) -> None:
    first, second = (root(bmc).get_system() for bmc in process.bmcs)
    seen = [sorted(system.ethernet_interfaces.summary) for system in (first, second)]
    assert not set(seen[0]) & set(seen[1])
    assert seen[0] == sorted(root(process.bmcs[0]).get_system().ethernet_interfaces.summary)
    made = Hardware(process.bmcs[0].serial)
    assert seen[0] == [mac.upper() for mac in made.macs]
    assert first.memory_summary.size_gib == sum(made.modules_gib)
    assert first.processors.summary == (made.sockets * made.cores * 2, sushy.PROCESSOR_ARCH_x86)
    assert first.storage.drives_sizes_bytes == sorted(made.drives_bytes)


def test_ten_thousand_machines_have_addresses_of_their_own() -> None:
    macs = [mac for number in range(10_000) for mac in Hardware(f"SIM{number}").macs]
    assert len(set(macs)) == len(macs)
    assert all(len(mac) == 17 and mac.startswith("02:") for mac in macs)


def test_bios_settings_and_their_registry(process: FleetProcess) -> None:
    service = root(process.bmcs[0])
    bios = service.get_system().bios
    assert (bios.attributes["BootMode"], bios.attributes["MemTest"]) == ("Uefi", False)
    registry = bios.get_attribute_registry("en")
    entries = {one.name: one for one in registry.registry_entries.attributes}
    assert entries.keys() == bios.attributes.keys()
    assert (entries["BootTimeoutSeconds"].upper_bound, entries["SystemBiosVersion"].read_only) == (3600, True)


def test_firmware_is_listed(process: FleetProcess) -> None:
    service = root(process.bmcs[0])
    listed = {one.identity: one.version for one in service.get_update_service().firmware_inventory.get_members()}
    system = service.get_system()
    [adapter] = system.chassis[0].network_adapters.get_members()
    assert listed == {
        "BIOS": system.bios_version,
        "BMC": system.managers[0].firmware_version,
        "NIC1": adapter.controllers[0].firmware_package_version,
    }


def test_lights_are_set_each_for_itself(process: FleetProcess) -> None:
    [bmc, other] = process.bmcs
    system = root(bmc).get_system()
    chassis = system.chassis[0]
    chassis.set_indicator_led(sushy.IndicatorLED.BLINKING)
    system.set_indicator_led(sushy.IndicatorLED.LIT)
    system.refresh()
    chassis.refresh()
    assert (system.indicator_led, chassis.indicator_led) == (sushy.IndicatorLED.LIT, sushy.IndicatorLED.BLINKING)
    assert root(other).get_system().indicator_led == sushy.IndicatorLED.OFF
    system.set_indicator_led(sushy.IndicatorLED.OFF)
    system.refresh()
    assert system.indicator_led == sushy.IndicatorLED.OFF
    answer = process.ask(bmc, "PATCH", "/redfish/v1/Systems/1", {"IndicatorLED": "Bright"})
    assert answer.status == 400


def test_secure_boot_takes_effect_at_the_next_boot(process: FleetProcess) -> None:
    [bmc, _] = process.bmcs
    process.order(reset="ForceOff")
    system = root(bmc).get_system()
    system.secure_boot.set_enabled(True)
    secure = system.secure_boot
    secure.refresh()
    assert (secure.enabled, secure.current_boot) == (True, sushy.SecureBootCurrentBoot.DISABLED)
    process.order(reset="On")
    secure.refresh()
    assert secure.current_boot == sushy.SecureBootCurrentBoot.ENABLED
    process.order(reset="ForceOff")
    system.set_system_boot_options(mode=sushy.BootSourceOverrideMode.LEGACY)
    with pytest.raises(sushy.exceptions.BadRequestError):
        secure.set_enabled(True)


def test_modes_show_after_a_boot_where_the_quirk_says_so(process: FleetProcess) -> None:
    [_, bmc] = process.bmcs
    process.set_quirks(bmc, "mode-at-boot")
    process.order(reset="ForceOff")
    system = root(bmc).get_system()
    system.set_system_boot_options(mode=sushy.BootSourceOverrideMode.LEGACY)
    system.refresh()
    assert system.boot.mode == sushy.BootSourceOverrideMode.UEFI
    process.order(reset="On")
    system.refresh()
    assert system.boot.mode == sushy.BootSourceOverrideMode.LEGACY
