"""Sensors: collect them, and answer with what was collected last."""

from __future__ import annotations

import logging

from ironic_lite import errors
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor, SensorReport
from ironic_lite.config import Bool, Int, Section, Strings
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Provision
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import Sensors

LOG = logging.getLogger(__name__)


class conf(Section, name="sensor_data"):
    """Which sensors, of which nodes, how often."""

    send_sensor_data = Bool(False, help="Whether sensors are collected at all.")
    interval = Int(600, min=1, help="Seconds between two collections of a node's sensors.")
    workers = Int(4, min=1, mutable=True, help="Nodes whose sensors are collected at a time.")
    data_types = Strings(["ALL"], help="Types of sensors that are kept, such as Temperature,Fan; ALL keeps every one.")
    enable_for_undeployed_nodes = Bool(False, help="Whether nodes that are not active are included.")


@rpc.quick_method
def latest_sensors(conductor: Conductor, node: str) -> SensorReport | None:
    """What was collected last from the node; None if nothing was yet. Asks neither BMC nor database."""
    return conductor.sensors.get(node)


def wanted(node: Node) -> bool:
    """Whether the node's sensors are collected."""
    return conf.enable_for_undeployed_nodes or node.provision_state == Provision.ACTIVE


def collect(conductor: Conductor, node: Node) -> None:
    """Visit one node and keep what it reports."""
    try:
        driver = registry.management(node)
        sensors = driver.sensors(node, conductor.poll_deadline())
    except (errors.BMCError, errors.Invalid, errors.DriverNotFound) as exc:
        LOG.warning("Sensors of node %s could not be collected: %s", node.label, exc)
        return
    conductor.sensors[node.uuid] = SensorReport(conductor.clock.now(), _kept(sensors))


def _kept(sensors: Sensors) -> Sensors:
    kinds = {kind.lower() for kind in conf.data_types}
    return sensors if "all" in kinds else {kind: data for kind, data in sensors.items() if kind.lower() in kinds}
