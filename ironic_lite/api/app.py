"""The WSGI application: a table of routes over one database, the cluster's members and its conductors."""

from __future__ import annotations

from typing import Any

import falcon

from ironic_lite.api import faults
from ironic_lite.api.lite.conductors import ConductorStatistics
from ironic_lite.api.lite.events import Events
from ironic_lite.api.lite.power import ConductorPower, NodePower
from ironic_lite.api.lite.root import Lite, LiteV1
from ironic_lite.api.lite.sensors import Sensors
from ironic_lite.api.metrics import BOUNDS_S, DURATIONS, Metrics
from ironic_lite.api.metrics import PATH as METRICS_PATH
from ironic_lite.api.middleware import Reception
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.allocations import AllocationItem, Allocations, NodeAllocation
from ironic_lite.api.v1.conductors import ConductorItem, Conductors
from ironic_lite.api.v1.drivers import DriverItem, DriverProperties, Drivers
from ironic_lite.api.v1.node_actions import BootDevices, BootDeviceState, LegacyValidate, Maintenance, Validate
from ironic_lite.api.v1.node_hardware import Bios, BiosItem, Firmware, InventoryItem
from ironic_lite.api.v1.node_management import IndicatorItem, Indicators, InjectNMI
from ironic_lite.api.v1.node_modes import BootModeState, SecureBootState
from ironic_lite.api.v1.node_parts import History, HistoryItem, NodePorts, NodePortsDetail
from ironic_lite.api.v1.node_states import PowerState, States
from ironic_lite.api.v1.node_traits import Trait, Traits
from ironic_lite.api.v1.nodes import NodeItem, Nodes, NodesDetail
from ironic_lite.api.v1.ports import PortItem, Ports, PortsDetail
from ironic_lite.api.v1.provisioning import ProvisionState
from ironic_lite.api.v1.root import V1, Root
from ironic_lite.api.workers import Workers
from ironic_lite.clock import Clock
from ironic_lite.cluster import transport
from ironic_lite.cluster.members import Members
from ironic_lite.db.engine import Database
from ironic_lite.domain.events import PREFIX as EVENTS_PREFIX
from ironic_lite.metrics import Histogram


def routes(serving: Serving) -> dict[str, Any]:
    """Every path and what answers it."""
    return {
        "/": Root(),
        "/v1": V1(),
        "/v1/allocations": Allocations(serving),
        "/v1/allocations/{ident}": AllocationItem(serving),
        "/v1/ports": Ports(serving),
        "/v1/ports/detail": PortsDetail(serving),
        "/v1/ports/{ident}": PortItem(serving),
        "/v1/drivers": Drivers(serving),
        "/v1/drivers/{name}": DriverItem(serving),
        "/v1/drivers/{name}/properties": DriverProperties(serving),
        "/v1/conductors": Conductors(serving),
        "/v1/conductors/{hostname}": ConductorItem(serving),
        "/lite": Lite(),
        "/lite/v1": LiteV1(),
        "/lite/v1/conductors/{host}": ConductorStatistics(serving),
        f"{EVENTS_PREFIX}/{{uuid}}/{{token}}": Events(serving),
        "/lite/v1/conductors/{host}/power": ConductorPower(serving),
        "/lite/v1/nodes/{ident}/power": NodePower(serving),
        "/lite/v1/nodes/{ident}/sensors": Sensors(serving),
        **_node_routes(serving),
        METRICS_PATH: Metrics(serving.workers),
    }


def _node_routes(serving: Serving) -> dict[str, object]:
    """Nodes, and what belongs to a node."""
    return {
        "/v1/nodes": Nodes(serving),
        "/v1/nodes/detail": NodesDetail(serving),
        "/v1/nodes/validate": LegacyValidate(serving),
        "/v1/nodes/states/{ident}": States(serving),
        "/v1/nodes/{ident}": NodeItem(serving),
        "/v1/nodes/{ident}/allocation": NodeAllocation(serving),
        "/v1/nodes/{ident}/bios": Bios(serving),
        "/v1/nodes/{ident}/bios/{name}": BiosItem(serving),
        "/v1/nodes/{ident}/firmware": Firmware(serving),
        "/v1/nodes/{ident}/history": History(serving),
        "/v1/nodes/{ident}/history/{uuid}": HistoryItem(serving),
        "/v1/nodes/{ident}/inventory": InventoryItem(serving),
        "/v1/nodes/{ident}/maintenance": Maintenance(serving),
        "/v1/nodes/{ident}/management/boot_device": BootDeviceState(serving),
        "/v1/nodes/{ident}/management/boot_device/supported": BootDevices(serving),
        "/v1/nodes/{ident}/management/indicators": Indicators(serving),
        "/v1/nodes/{ident}/management/indicators/{indicator}": IndicatorItem(serving),
        "/v1/nodes/{ident}/management/inject_nmi": InjectNMI(serving),
        "/v1/nodes/{ident}/ports": NodePorts(serving),
        "/v1/nodes/{ident}/ports/detail": NodePortsDetail(serving),
        "/v1/nodes/{ident}/states": States(serving),
        "/v1/nodes/{ident}/states/boot_mode": BootModeState(serving),
        "/v1/nodes/{ident}/states/power": PowerState(serving),
        "/v1/nodes/{ident}/states/provision": ProvisionState(serving),
        "/v1/nodes/{ident}/states/secure_boot": SecureBootState(serving),
        "/v1/nodes/{ident}/traits": Traits(serving),
        "/v1/nodes/{ident}/traits/{name}": Trait(serving),
        "/v1/nodes/{ident}/validate": Validate(serving),
    }


def application(
    database: Database,
    members: Members,
    conductors: transport.Conductors,
    clock: Clock,
    workers: Workers,
) -> falcon.App[falcon.Request, falcon.Response]:
    """The API; what it counts is told by `workers`."""
    serving = Serving(database, members, conductors, clock, workers)
    durations = Histogram(DURATIONS, BOUNDS_S)
    workers.registry.add(durations.samples)
    workers.registry.add(conductors.bmc_waits.samples)
    app: falcon.App[falcon.Request, falcon.Response] = falcon.App(
        middleware=[Reception(clock, durations)], response_type=_Response
    )
    faults.register(app)
    for path, resource in routes(serving).items():
        app.add_route(path, resource)
    return app


class _Response(falcon.Response):
    """An answer without a body has no content type (Falcon would add its default)."""

    def _wsgi_headers(self, media_type: str | None = None) -> list[tuple[str, str]]:
        return super()._wsgi_headers(media_type if self.data else None)
