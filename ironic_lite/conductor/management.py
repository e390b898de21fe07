"""Indicators and interrupts: calls that wait for the BMC while the client waits for us."""

from __future__ import annotations

from ironic_lite import errors
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.locks import NodeLock, Result
from ironic_lite.db import nodes
from ironic_lite.db.history import Event
from ironic_lite.domain.indicators import Indicator, Light, Part
from ironic_lite.domain.node import Node
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import ManagementInterface


@rpc.bmc_method
def get_indicators(conductor: Conductor, node: str) -> list[Indicator]:
    """Every indicator of the machine. Takes no lock: reading disturbs nobody."""
    row, driver = _asked(conductor, node)
    return driver.indicators(row, conductor.call_deadline())


@rpc.bmc_method
def get_indicator(conductor: Conductor, node: str, name: str, part: Part) -> Light:
    """What one indicator shows."""
    row, driver = _asked(conductor, node)
    return driver.indicator(row, name, part, conductor.call_deadline())


@rpc.bmc_method
def set_indicator(conductor: Conductor, node: str, name: str, part: Part, light: Light) -> None:
    """Have one indicator show that, under the node's lock."""
    row, driver = _free(conductor, node)
    with NodeLock(conductor, row, "indicator") as lock:
        driver.set_indicator(row, name, part, light, lock.attempt(conductor.call_deadline()))
        lock.finish(Result(event=Event("indicator", "INFO", f'Indicator {name}@{part} set to "{light}".')))


@rpc.bmc_method
def inject_nmi(conductor: Conductor, node: str) -> None:
    """Send the machine a non-maskable interrupt, under its lock."""
    row, driver = _free(conductor, node)
    with NodeLock(conductor, row, "interrupt") as lock:
        driver.inject_nmi(row, lock.attempt(conductor.call_deadline()))
        lock.finish(Result(event=Event("interrupt", "INFO", "A non-maskable interrupt was sent.")))


def _asked(conductor: Conductor, node: str) -> tuple[Node, ManagementInterface]:
    """The node and its driver, unless nobody should wait for its BMC now."""
    row = nodes.get(conductor.database, node)
    conductor.freshness.demand_answers(row.uuid)
    driver = registry.management(row)
    driver.check(row)
    return row, driver


def _free(conductor: Conductor, node: str) -> tuple[Node, ManagementInterface]:
    row, driver = _asked(conductor, node)
    if row.reservation is not None:
        raise errors.NodeLocked(node=row.uuid, host=row.reservation, purpose=row.lock_purpose)
    return row, driver
