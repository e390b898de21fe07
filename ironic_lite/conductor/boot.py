"""Boot device: calls that wait for the BMC while the client waits for us."""

from __future__ import annotations

from ironic_lite import errors
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.locks import NodeLock, Result
from ironic_lite.db import nodes
from ironic_lite.db.history import Event
from ironic_lite.domain.states import BootDevice
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import BootChoice


@rpc.bmc_method
def get_boot_device(conductor: Conductor, node: str) -> BootChoice:
    """What the machine is set to boot from. Takes no lock: reading disturbs nobody."""
    row = nodes.get(conductor.database, node)
    conductor.freshness.demand_answers(row.uuid)
    driver = registry.management(row)
    driver.check(row)
    return driver.boot_device(row, conductor.call_deadline())


@rpc.bmc_method
def supported_boot_devices(conductor: Conductor, node: str) -> list[BootDevice]:
    """What the machine can be told to boot from."""
    row = nodes.get(conductor.database, node)
    conductor.freshness.demand_answers(row.uuid)
    driver = registry.management(row)
    driver.check(row)
    return driver.boot_devices(row, conductor.call_deadline())


@rpc.bmc_method
def set_boot_device(conductor: Conductor, node: str, boot_device: BootDevice, persistent: bool = False) -> None:  # noqa: FBT001, FBT002  # the wire names it
    """Set what the machine boots from, under its lock."""
    row = nodes.get(conductor.database, node)
    if row.reservation is not None:
        raise errors.NodeLocked(node=row.uuid, host=row.reservation, purpose=row.lock_purpose)
    conductor.freshness.demand_answers(row.uuid)
    driver = registry.management(row)
    driver.check(row)
    choice = BootChoice(boot_device=boot_device, persistent=persistent)
    with NodeLock(conductor, row, "boot device") as lock:
        driver.set_boot_device(row, choice, lock.attempt(conductor.call_deadline()))
        kept = "at every boot" if persistent else "at the next boot"
        lock.finish(Result(event=Event("boot device", "INFO", f'Boot device set to "{boot_device}" {kept}.')))
