"""One collection of a machine's sensors on the I/O loop: what `sensors.py` collects through sushy, field for field.

Each request waits for its turn anew, behind those for power. Where to look is learnt once (`links.py`), so a
collection is one request each for fans and temperatures, for power supplies, and for each drive, or for each
controller where the BMC puts the drives into it (`$expand`). `tests/drivers/test_redfish_sensors.py` holds the two
ways against each other.

*Guarantees.* (1) It ends by the deadline, with what was told by then; what was not is named with the reason. (2) A BMC
that is silent twice in a row is asked nothing more. (3) At most `STORAGE_LIMIT` controllers, `DRIVE_LIMIT` drives and
`SENSOR_LIMIT` Sensors are asked for, and a document above `DOCUMENT_LIMIT_KIB` is refused. (4) A document above
`SMALL_KIB` is read in one of the loop's four threads, so that other BMCs' answers go in between: of the 4 ms for the
largest one, 1 ms is decoding, which Python's lock lets nobody interrupt, wherever it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Final, TypeVar

from sushy import exceptions as sushy_errors

from ironic_lite.clock import Deadline
from ironic_lite.drivers.contact import Rank
from ironic_lite.drivers.interfaces import Collected
from ironic_lite.drivers.redfish import readings
from ironic_lite.drivers.redfish.bmc import BMCS
from ironic_lite.drivers.redfish.exchange import Request
from ironic_lite.drivers.redfish.faults import CAUGHT, is_silence, translated
from ironic_lite.drivers.redfish.http1 import BrokenAnswer
from ironic_lite.drivers.redfish.links import KEPT_S, Links
from ironic_lite.drivers.redfish.parts import DRIVE_LIMIT, SENSOR_LIMIT, STORAGE_LIMIT, Parts
from ironic_lite.drivers.redfish.poll import Target, only_system

SMALL_KIB: Final = 64
DOCUMENT_LIMIT_KIB: Final = 1024
EXPANDED: Final = "?$expand=."

T = TypeVar("T")


class _Moved(Exception):
    """Something is not where it was remembered to be."""


async def collect(target: Target, deadline: Deadline) -> Collected:
    """Every sensor of the machine. Raises the `BMC...` errors, by the deadline, when not one is told."""
    try:
        with contextlib.suppress(_Moved):
            return await _Visit(target, deadline).collect()
        return await _Visit(target, deadline).collect()
    except CAUGHT as exc:
        raise translated(target.label, target.account, exc) from exc


class _Visit:
    """One collection under way."""

    def __init__(self, target: Target, deadline: Deadline) -> None:
        self._account, self._deadline = target.account, deadline
        self._system = target.system
        self._bmc = BMCS.get(target.account)
        self._remembered: Links | None = None
        self._gaps = False
        self._parts, self._drives_left = Parts(deadline), DRIVE_LIMIT

    async def collect(self) -> Collected:
        """Ask for one part after the other. Raises `_Moved` if a second visit would tell more, and `CAUGHT`."""
        path = self._system or self._bmc.system
        path = path or await only_system(self._bmc, self._account, Rank.SENSORS, self._deadline)
        self._remembered = self._bmc.links.get(path, asyncio.get_running_loop().time())
        try:
            links = self._remembered or await self._find(path)
            await self._ask_for_all(links)
            links.gaps = links.gaps or self._gaps
        except _Moved:
            self._bmc.links.forget(path)
            raise
        return self._parts.collected(links.extra)

    async def _ask_for_all(self, links: Links) -> None:
        """What often is slow stands apart, so that a BMC which is silent about both still tells the rest."""
        with self._parts.part("Thermal"):
            if links.thermal is not None:
                self._parts.add(await self._read(links.thermal, lambda told: readings.thermal(told, links.chassis)))
        with self._parts.part("Sensors"):
            if links.sensors is not None:
                await self._ask_for_sensors(links.sensors, links)
        for path in links.simple:
            with self._parts.part("Drives"):
                self._parts.add(await self._read(path, lambda told: readings.simple_storage(told, links.system)))
        if "Drive" not in self._parts.told:
            for path in links.controllers:
                with self._parts.part("Drives"):
                    await self._ask_for_drives(path, links)
        with self._parts.part("Power"):
            if links.power is not None:
                self._parts.add(await self._read(links.power, lambda told: readings.power(told, links.chassis)))

    async def _ask_for_sensors(self, path: str, links: Links) -> None:
        told, others = await self._read_whole(path, links, lambda told: readings.sensors(told, links.chassis))
        self._parts.add(told)
        for other in others[:SENSOR_LIMIT]:
            with self._parts.part("Sensors"):
                self._parts.add(await self._read(other, lambda told: readings.sensor(told, links.chassis)))

    async def _ask_for_drives(self, path: str, links: Links) -> None:
        if path not in links.drives:
            meaning = functools.partial(readings.controller, place=links.system)
            name, told, others = await self._read_whole(path, links, meaning)
            self._parts.add(told)
            if not told["Drive"]:
                links.drives[path] = name, others
        else:
            name, others = links.drives[path]
        others = others[: self._drives_left]
        self._drives_left -= len(others)
        for other in others:
            with self._parts.part("Drives"):
                self._parts.add(await self._read(other, lambda told: readings.drive(told, name, links.system)))

    async def _find(self, path: str) -> Links:
        """Where everything is: the System, its first chassis, its storage. Kept if all of it was told."""
        system = await self._read(path, readings.system)
        extra = {"Manufacturer": system.manufacturer, "Model": system.model, "UUID": system.uuid}
        links = Links(str(system.id), extra, asyncio.get_running_loop().time() + KEPT_S)
        with self._parts.part("Chassis"):
            await self._find_chassis(system, links)
        with self._parts.part("Drives"):
            links.simple = await self._members(system.simple_storage)
        with self._parts.part("Drives"):
            links.controllers = await self._members(system.storage)
        with self._parts.part("Service root"):
            if links.sensors or links.controllers:
                links.expands = await self._read(self._account.root, readings.expands)
        if not self._parts.missing:
            self._bmc.links.keep(path, links)
        return links

    async def _find_chassis(self, system: readings.System, links: Links) -> None:
        path = readings.path(next(iter(system.links.chassis or ()), None)) if system.links else None
        if path is None:
            return
        chassis = await self._read(path, readings.chassis)
        links.chassis = str(chassis.id)
        links.thermal, links.power = readings.path(chassis.thermal), readings.path(chassis.power)
        if links.thermal is None and links.power is None:
            links.sensors = readings.path(chassis.sensors)

    async def _members(self, link: readings.Link | None) -> tuple[str, ...]:
        path = readings.path(link)
        return (await self._read(path, readings.members))[:STORAGE_LIMIT] if path is not None else ()

    async def _read_whole(self, path: str, links: Links, meaning: Callable[[bytes], T]) -> T:
        """With what it refers to in it, where the BMC can. One that says so and can't is believed no more."""
        if links.expands:
            try:
                return await self._read(path + EXPANDED, meaning)
            except CAUGHT as exc:
                links.expands = False
                if is_silence(exc):
                    raise
        return await self._read(path, meaning)

    async def _read(self, path: str, meaning: Callable[[bytes], T]) -> T:
        """What the document at that path means."""
        self._parts.check()
        response = await self._bmc.ask(self._account, Request("GET", path), Rank.SENSORS, self._deadline)
        if response.status_code == 404:
            self._gaps = True
            if self._remembered is not None and not self._remembered.gaps:
                raise _Moved
        if response.status_code != 200:
            sushy_errors.raise_for_response("GET", path, response)
        size_kib = len(response.content) / 1024
        if size_kib > DOCUMENT_LIMIT_KIB:
            raise BrokenAnswer(f"its answer is over the limit of {DOCUMENT_LIMIT_KIB} KiB for sensors")
        if size_kib <= SMALL_KIB:
            return meaning(response.content)
        return await asyncio.get_running_loop().run_in_executor(None, meaning, response.content)
