"""A BMC's sensor data records (SDR), which say what its readings mean: read once, and again when they have changed.

A whole repository takes one exchange for each of a hundred records and more, as many again as the readings themselves.

*Guarantees.* (1) Records are used only for the BMC that they were read from, and only while its device id (firmware,
manufacturer, product), the number of records and the times at which one was last added and erased are the same. pyghmi
has a table of its own for this, without a bound and for all BMCs of one firmware: two machines of one model whose
repositories were changed in the same second, or never, would be read by each other's records. It is never found
filled here. (2) The records of at most `KNOWN_LIMIT` BMCs are kept, the least recently used go first; BMCs with the
same records share them. Any thread may use `Repositories`; its lock is taken alone.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import Any, Final

from pyghmi.ipmi import command as pyghmi_command
from pyghmi.ipmi import sdr as pyghmi_sdr
from pyghmi.ipmi.oem import generic

from ironic_lite.drivers.ipmi.session import Session

# About 6 KiB each for a hundred sensors, and most of a fleet's are the same.
KNOWN_LIMIT: Final = 10_000
SENSOR_RECORDS: Final = (1, 2)  # full and compact ones (IPMI 2.0, tables 43-1 and 43-2)

BMC = tuple[str, int]


class Records:
    """One repository's records."""

    __slots__ = ("__weakref__", "raw")

    def __init__(self, raw: tuple[bytes, ...]) -> None:
        self.raw = raw


class Repositories:
    """What is known, the least recently used first."""

    def __init__(self, limit: int = KNOWN_LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._known: OrderedDict[BMC, tuple[object, Records]] = OrderedDict()
        self._shared: weakref.WeakValueDictionary[tuple[bytes, ...], Records] = weakref.WeakValueDictionary()

    def get(self, bmc: BMC, version: object) -> tuple[bytes, ...] | None:
        """The records of that BMC, if they still are of that version."""
        with self._lock:
            known = self._known.get(bmc)
            if known is None or known[0] != version:
                return None
            self._known.move_to_end(bmc)
            return known[1].raw

    def keep(self, bmc: BMC, version: object, raw: tuple[bytes, ...]) -> None:
        """Remember them."""
        with self._lock:
            self._known[bmc] = version, self._shared.setdefault(raw, Records(raw))
            self._known.move_to_end(bmc)
            if len(self._known) > self._limit:
                self._known.popitem(last=False)


REPOSITORIES: Final = Repositories()


class Commands(pyghmi_command.Command):  # type: ignore[misc]  # pyghmi has no types
    """pyghmi's commands over a session of ours, without its vendors' handlers, some of which turn to HTTPS."""

    def __init__(self, session: Session) -> None:
        self.ipmi_session, self.bmc = session, session.bmc
        self._sdr, self._sdrcachedir = None, None
        self._oem, self._oemknown = generic.OEMHandler(None, None), True


class Repository(pyghmi_sdr.SDR):  # type: ignore[misc]
    """A BMC's sensors by pyghmi's names of them, in `sensors`; `entities` tells where each is, as "id.instance"."""

    def __init__(self, commands: Commands, bmc: BMC) -> None:
        """Ask the BMC. Raises what pyghmi raises."""
        self._bmc = bmc
        self._raw: list[bytes] = []
        self.entities: dict[str, str] = {}
        self.broken_sensor_ids: dict[str, bool] = {}
        super().__init__(commands)

    # What is replaced of pyghmi.

    device_id: Any

    def get_sdr(self) -> None:
        answer = bytes(self.ipmicmd.xraw_command(netfn=0x0A, command=0x20)["data"])
        version = self.fw_major, self.fw_minor, self.mfg_id, self.prod_id, self.device_id, answer[:13]
        known = REPOSITORIES.get(self._bmc, version)
        if known is None:
            self._read_all()
            REPOSITORIES.keep(self._bmc, version, tuple(self._raw))
            return
        for record in known:
            self.add_sdr(bytearray(record))
        for sensor in self.broken_sensor_ids:
            self.sensors.pop(sensor, None)

    def add_sdr(self, sdrbytes: Any) -> None:
        record = bytes(sdrbytes)
        self._raw.append(record)
        if record[3] in SENSOR_RECORDS:
            # Behind the header: owner, LUN, number; then the entity and its instance.
            owner, lun, number, entity, instance = record[5:10]
            self.entities[f"{owner}.{number}.{lun & 3}"] = f"{entity}.{instance & 0x7F}"
        super().add_sdr(bytearray(record))

    def _read_all(self) -> None:
        device, self.device_id = self.device_id, (self.device_id, self._bmc)  # what pyghmi's own table is kept by
        try:
            super().get_sdr()
        finally:
            self.device_id = device
            pyghmi_sdr.shared_sdrs.clear()
