"""What `advice` judges by, read: the options as they are now, this conductor's nodes, the limits around it."""

from __future__ import annotations

import logging
from typing import Any, Final

# Imported for their options, too: each one of `advice.OPTIONS` is declared by one of these.
from ironic_lite import errors
from ironic_lite.cluster import members, transport
from ironic_lite.conductor import advice, freshness, kinds, lanes, sensors
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.config import CONF
from ironic_lite.db import engine, nodes
from ironic_lite.drivers.redfish import options
from ironic_lite.executors import surroundings
from ironic_lite.web import limits

LOG = logging.getLogger(__name__)

DECLARE: Final = (members, transport, freshness, kinds, lanes, sensors, engine, options)


def begin(conductor: Conductor, api_threads: tuple[int, ...]) -> None:
    """Have the settings judged by a worker of the pool: neither a start nor a reload waits for the database."""
    try:
        with conductor.pool.slot(Work.HOUSE_KEEPING, "advice on the settings") as slot:
            slot.run(advise, conductor, api_threads)
    except errors.Unavailable as exc:
        LOG.warning("The settings are not judged: %s", exc)


def advise(conductor: Conductor, api_threads: tuple[int, ...]) -> None:
    """Say what the settings add up to, if that is not healthy."""
    try:
        owned = sum(conductor.owns(*place) for place in nodes.places(conductor.database))
    except errors.DatabaseUnavailable as exc:
        LOG.warning("The settings are not judged: %s", exc)
        return
    found = advice.judge(setup(owned, api_threads))
    for one in found:
        LOG.warning("%s", one)
    LOG.debug("The settings were judged for %d nodes: %d pieces of advice.", owned, len(found))


def setup(owned: int, api_threads: tuple[int, ...]) -> advice.Setup:
    """Options and surroundings, as they are now."""
    return advice.Setup(
        **{field: _value(name) for field, name in advice.OPTIONS.items()},
        nodes=owned,
        api_threads=api_threads,
        connections=limits.DEFAULT.connections,
        memory_mib=surroundings.memory_mib(),
        open_files=surroundings.open_files(),
        processors=surroundings.processors(),
    )


def _value(name: str) -> Any:
    """The option that operators call "[section]name"."""
    section, _, option = name.lstrip("[").partition("]")
    return CONF[section][option]
