"""A whole conductor in this very process, on SQLite, over machines that are in its database before it starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ironic_lite import config, options
from ironic_lite.cluster.transport import Credentials
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.process import ConductorService
from ironic_lite.db import migrate
from ironic_lite.db.engine import database_url, open_database, seconds_ago
from ironic_lite.db.tables import nodes
from ironic_lite.web.listeners import listen
from tests.builders import a_row
from tests.parts.fleet import PASSWORD, USERNAME

MADE_S = 3600  # ago: what was written lately is read again and again for a while

Settings = Mapping[str, Mapping[str, object]]


def machine(name: str, url: str, **info: object) -> dict[str, Any]:
    """The row of an active machine that is off, at a simulated Redfish BMC."""
    login = {"redfish_address": url, "redfish_username": USERNAME, "redfish_password": PASSWORD}
    return a_row(
        name=name, driver="redfish", driver_info=login | info, provision_state="active", power_state="power off",
        power_interface="redfish", management_interface="redfish",
    )  # fmt: skip


def whole_conductor(
    directory: str, settings: Settings, rows: Iterable[Mapping[str, Any]]
) -> tuple[Conductor, ConductorService]:
    """It serves; its owner stops the service. For a process that has no other configuration."""
    options.declare()
    config.load([], program="conductor", files=[])
    config.CONF.set_override("state_path", directory)
    for section, values in settings.items():
        for name, value in values.items():
            config.CONF.set_override(name, value, section)
    migrate.upgrade(database_url())
    database = open_database()
    with database.write() as connection:
        for row in rows:
            connection.execute(nodes.insert().values(created_at=seconds_ago(MADE_S), revision=0, **row))
    database.dispose()
    service = ConductorService(listen("127.0.0.1", 0), Credentials("u", "p"), 30.0).prepare()
    service.start()
    return service._conductor, service
