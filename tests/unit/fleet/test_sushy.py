"""The client that OpenStack uses, unmodified, against the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sushy
from sushy import auth, exceptions

from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.waiting import until


@pytest.fixture
def process() -> Iterator[FleetProcess]:
    with fleet(power_delay=0.1) as running:
        yield running


def connect(process: FleetProcess, how: Any) -> Any:
    return sushy.Sushy(process.bmcs[0].url, auth=how, server_side_retries=0, read_timeout=10)


@pytest.fixture
def client(process: FleetProcess) -> Any:
    return connect(process, auth.BasicAuth(USERNAME, PASSWORD))


def goes_to(system: Any, power: Any) -> None:
    def there() -> bool:
        system.refresh()
        return bool(system.power_state == power)

    until(there)


def test_the_system_is_found_and_described(process: FleetProcess, client: Any) -> None:
    system = client.get_system()
    assert system.serial_number == process.bmcs[0].serial
    assert system.power_state == sushy.PowerState.OFF
    assert system.status.health == sushy.HEALTH_OK
    assert sushy.ResetType.GRACEFUL_SHUTDOWN in system.get_allowed_reset_system_values()
    assert [chassis.identity for chassis in system.chassis] == ["1"]
    assert [manager.identity for manager in system.managers] == ["BMC"]
    assert system.secure_boot.enabled is False


def test_power_on_restart_shutdown_and_off(client: Any) -> None:
    system = client.get_system()
    for reset, power in [
        (sushy.ResetType.ON, sushy.PowerState.ON),
        (sushy.ResetType.FORCE_RESTART, sushy.PowerState.ON),
        (sushy.ResetType.GRACEFUL_RESTART, sushy.PowerState.ON),
        (sushy.ResetType.GRACEFUL_SHUTDOWN, sushy.PowerState.OFF),
        (sushy.ResetType.ON, sushy.PowerState.ON),
        (sushy.ResetType.FORCE_OFF, sushy.PowerState.OFF),
    ]:
        system.reset_system(reset)
        goes_to(system, power)


def test_a_restart_of_a_machine_that_is_off_is_refused(client: Any) -> None:
    with pytest.raises(exceptions.HTTPError, match="ResourceInStandby"):
        client.get_system().reset_system(sushy.ResetType.FORCE_RESTART)


def test_the_boot_source_is_set_and_used_up(client: Any) -> None:
    system = client.get_system()
    system.set_system_boot_options(
        sushy.BootSource.PXE, enabled=sushy.BootSourceOverrideEnabled.ONCE, mode=sushy.BootSourceOverrideMode.LEGACY
    )
    system.refresh()
    assert system.boot.target == sushy.BootSource.PXE
    assert system.boot.enabled == sushy.BootSourceOverrideEnabled.ONCE
    assert system.boot.mode == sushy.BootSourceOverrideMode.LEGACY
    system.reset_system(sushy.ResetType.ON)
    goes_to(system, sushy.PowerState.ON)
    assert system.boot.enabled == sushy.BootSourceOverrideEnabled.DISABLED
    assert system.boot.target == sushy.BootSource.NONE


def test_sensors_are_read_from_the_chassis(client: Any) -> None:
    system = client.get_system()
    system.reset_system(sushy.ResetType.ON)
    goes_to(system, sushy.PowerState.ON)
    [chassis] = system.chassis
    assert [sensor.name for sensor in chassis.thermal.temperatures] == ["Inlet", "CPU1", "CPU2"]
    assert all(15 < sensor.reading_celsius < 90 for sensor in chassis.thermal.temperatures)
    assert all(fan.reading > 0 for fan in chassis.thermal.fans)
    assert [supply.identity for supply in chassis.power.power_supplies] == ["0", "1"]
    assert all(supply.last_power_output_watts > 0 for supply in chassis.power.power_supplies)


def test_a_session_is_opened_used_renewed_and_closed(process: FleetProcess) -> None:
    login = auth.SessionAuth(USERNAME, PASSWORD)
    client = connect(process, login)
    system = client.get_system()
    [bmc] = process.bmcs
    assert process.counts(bmc)["POST sessions"] == 1
    assert process.ask(bmc, "DELETE", login.get_session_resource_id()).status == 204
    system.refresh()  # logs in again by itself
    assert process.counts(bmc)["POST sessions"] == 2
    login.close()
    assert process.ask(bmc, "GET", "/fleet/machine").document["sessions"] == []


def test_a_wrong_password_is_an_access_error(process: FleetProcess) -> None:
    with pytest.raises(exceptions.AccessError):
        connect(process, auth.SessionAuth(USERNAME, "wrong"))
