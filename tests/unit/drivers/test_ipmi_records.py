"""Sensor data records are read once for each BMC, and never taken for another one's."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from pyghmi.ipmi import sdr as pyghmi_sdr
from pyghmi.ipmi.private import constants

from ironic_lite.drivers.ipmi import records
from ironic_lite.drivers.ipmi.records import Repositories, Repository


def record(number: int, name: str) -> bytes:
    """A full record of a temperature sensor of the second processor."""
    body = bytes((0x20, 0, number, 3, 2, 0x7F, 0x44, 1, 1, *(0,) * 6, 0, 1, 0, 0, 1, *(0,) * 22, 0xC0 | len(name)))
    whole = body + name.encode()
    return struct.pack("<HBBB", number, 0x51, 1, len(whole)) + whole


class Bmc:
    """The commands of a BMC with these sensors, counted."""

    def __init__(self, *names: str, firmware: int = 1, changed_at: int = 0) -> None:
        self.names, self.firmware, self.changed_at = names, firmware, changed_at
        self.asked: list[int] = []

    def xraw_command(self, netfn: int, command: int, data: Any = b"") -> Any:
        return self.raw_command(netfn, command, data)

    def raw_command(self, netfn: int, command: int, data: Any = b"") -> Any:
        self.asked.append(command)
        match netfn, command:
            case 0x06, 0x01:
                said = bytes((0x20, 1, self.firmware, 0, 2, 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0))
            case 0x0A, 0x20:
                said = struct.pack("<BHHIIB", 0x51, len(self.names), 0xFFFF, self.changed_at, self.changed_at, 2)
            case 0x0A, 0x23:
                index = max(data[2], 1) - 1
                following = index + 2 if index + 1 < len(self.names) else 0xFFFF
                said = struct.pack("<H", following) + record(index + 1, self.names[index])
        return {"netfn": netfn, "command": command, "code": 0, "data": bytearray(said)}

    def get_event_constants(self) -> Any:
        return constants

    def read(self, host: str = "a") -> list[str]:
        """The names of its sensors, as they were read or remembered."""
        self.asked.clear()
        repository = Repository(self, (host, 623))  # type: ignore[arg-type]  # as much of `Commands` as is used
        assert set(repository.entities.values()) == {"3.2"}
        return [repository.sensors[key].name for key in repository.get_sensor_numbers()]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "REPOSITORIES", Repositories())


def test_records_are_read_once() -> None:
    bmc = Bmc("One", "Two")
    assert bmc.read() == ["One", "Two"]
    assert bmc.asked.count(0x23) == 2
    assert bmc.read() == ["One", "Two"]
    assert bmc.asked == [0x01, 0x20]


@pytest.mark.parametrize("change", [{"firmware": 2}, {"changed_at": 5}, {"names": ("Other", "More")}])
def test_changed_records_are_read_again(change: dict[str, Any]) -> None:
    bmc = Bmc("One")
    bmc.read()
    for name, value in change.items():
        setattr(bmc, name, value)
    assert bmc.read() == list(bmc.names)
    assert bmc.asked.count(0x23) == len(bmc.names)


def test_two_bmcs_of_one_firmware_keep_their_own() -> None:
    assert Bmc("One").read("a") == ["One"]
    assert Bmc("Two").read("b") == ["Two"]
    assert Bmc("One").read("a") == ["One"]
    assert pyghmi_sdr.shared_sdrs == {}


def test_what_pyghmi_keeps_meanwhile_is_taken_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Filled(dict[Any, Any]):
        """As it is while other threads read, too."""

        def clear(self) -> None:
            """It is filled again at once."""

    monkeypatch.setattr(pyghmi_sdr, "shared_sdrs", Filled())
    assert Bmc("One").read("a") == ["One"]
    assert Bmc("Two").read("b") == ["Two"]


def test_a_name_that_stands_for_two_sensors_is_left_out_from_memory_too() -> None:
    class Twice(Bmc):
        def raw_command(self, netfn: int, command: int, data: Any = b"") -> Any:
            answer = super().raw_command(netfn, command, data)
            if command == 0x23 and max(data[2], 1) < 3:
                answer["data"][2 + 7] = 1  # its number
            return answer

    bmc = Twice("One", "Two", "Three")
    assert bmc.read() == ["Three"]
    assert bmc.read() == ["Three"]
    assert bmc.asked == [0x01, 0x20]


def test_the_records_of_as_many_bmcs_as_allowed_are_kept() -> None:
    known = Repositories(limit=2)
    for host in ("a", "b"):
        known.keep((host, 1), 0, (b"x",))
    assert known.get(("a", 1), 0) is known.get(("b", 1), 0)  # one copy
    known.keep(("c", 1), 0, (b"y",))
    assert known.get(("b", 1), 0) == (b"x",)
    known.keep(("d", 1), 0, (b"z",))
    assert [known.get((host, 1), 0) for host in "abcd"] == [None, (b"x",), None, (b"z",)]
