"""Boot device and sensors: what every driver does alike."""

from __future__ import annotations

import msgspec
import pytest

from ironic_lite import errors
from ironic_lite.domain.states import BootDevice
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import BootChoice, Sensors
from tests.drivers.conftest import Machine, attempt, deadline, lost


@pytest.mark.parametrize("device", [BootDevice.PXE, BootDevice.DISK, BootDevice.CDROM])
def test_a_boot_device_is_set(machine: Machine, device: BootDevice) -> None:
    management = registry.management(machine.node)
    management.set_boot_device(machine.node, BootChoice(boot_device=device, persistent=True), attempt())
    if machine.reads_boot_device_back:
        found = management.boot_device(machine.node, deadline())
        assert found == BootChoice(boot_device=device, persistent=True)


def test_the_common_boot_devices_are_offered(machine: Machine) -> None:
    devices = registry.management(machine.node).boot_devices(machine.node, deadline())
    assert {BootDevice.PXE, BootDevice.DISK, BootDevice.CDROM} <= set(devices)


def test_an_unknown_boot_device_is_refused_with_what_is_there(machine: Machine) -> None:
    before = machine.changes()
    choice = BootChoice(boot_device=BootDevice.WANBOOT, persistent=False)
    with pytest.raises(errors.UnsupportedByDriver, match=r"boot device wanboot; supported are: .*pxe"):
        registry.management(machine.node).set_boot_device(machine.node, choice, attempt())
    assert machine.changes() == before


def test_no_boot_device_is_set_without_the_lock(machine: Machine) -> None:
    before = machine.changes()
    choice = BootChoice(boot_device=BootDevice.PXE, persistent=False)
    with pytest.raises(errors.LockLost):
        registry.management(machine.node).set_boot_device(machine.node, choice, attempt(permit=lost))
    assert machine.changes() == before


def test_sensors_have_the_shape_that_exporters_read(machine: Machine) -> None:
    sensors = registry.management(machine.node).sensors(machine.node, deadline()).sensors
    if machine.node.driver == "fake-hardware":
        assert sensors == {}
        return
    assert sensors["Temperature"]
    assert msgspec.convert(sensors, Sensors) == sensors  # or the API could not read what a conductor sends
    for kind, entries in sensors.items():
        if kind != "Extra":
            assert all(isinstance(fields, dict) and fields for fields in entries.values())
