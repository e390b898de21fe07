"""Requests recorded against Ironic 39.0.0, sent to us in their order: the same status, keys and values.

`ironic39.jsonl` holds each request, its status, what it answered when it succeeded (long answers were cut and are not
there) and the state that the node reached afterwards, which the replay brings about in the database: no machine is
involved. Whatever we answer differently stands in `DIFFERENT`, and whatever is not there yet in `NOT_THERE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from ironic_lite.conductor.validation import Validation
from ironic_lite.db.conductors import Drivers
from ironic_lite.db.tables import nodes
from ironic_lite.domain.indicators import Light
from ironic_lite.domain.node import INTERFACE_KINDS
from ironic_lite.domain.states import BootDevice
from ironic_lite.drivers.fake import INDICATORS
from ironic_lite.drivers.interfaces import BootChoice
from tests.parts.api import Service, allocating, served, sqlite

RECORDS = [msgspec.json.decode(line) for line in (Path(__file__).parent / "ironic39.jsonl").read_text().splitlines()]
BASE = "http://127.0.0.1:46385"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Parts of Ironic's API that are not there yet: a path is 404, or 405 where only the method is missing.
NOT_THERE = re.compile(
    r"/states/(console|raid)|/states/nosuch|/nodes/states/console"
    r"|/vendor_passthru|/(children|vifs|vmedia|volume|portgroups)\b|/v1/(portgroups|"
    r"chassis|volume|shards)|/raid/logical|/management$|/nosuch$"
)

# Lines of the recording (from 0) whose status is another here: ours, and why.
DIFFERENT: dict[int, tuple[int, str]] = {
    8: (404, "Ironic fails on .json with `latest`"),
    18: (200, "Ironic fails on derived fields in a list"),
    20: (400, "Ironic fails on links in a list"),
    25: (400, "an interface that the driver does not have is told at once"),
    36: (200, "a dot is an ordinary character of a JSON pointer"),
    37: (200, "the escapes of RFC 6901 work"),
    97: (400, "Ironic fails on a step without an interface"),
    108: (202, "Ironic fails on rebuild without keystone"),
    122: (202, "the conductor judges an abort; here it only notes it"),
    125: (202, "the lock was held by a conductor that worked; here it only notes"),
    137: (204, "the driver judges a boot device; here the conductor only notes it"),
    140: (204, "Ironic's fake machine takes no interrupt; here the conductor only notes it"),
    141: (204, "as the line before, without a body"),
    144: (204, "Ironic's fake machine has an indicator that can not be set"),
    164: (404, "the entry of the history was not replayed"),
    204: (405, "an item takes no POST"),
    241: (204, "a port can be deleted by name, as it can be read by name"),
    242: (404, "the port went one request earlier"),
    245: (200, "a node's ports can be asked for by its name"),
    246: (404, "there is no such path"),
    247: (405, "a node's ports take no POST"),
    256: (400, "there are no port groups yet"),
    272: (404, "its node belonged to a chassis, and was not created"),
    273: (404, "its node belonged to a chassis, and was not created"),
    282: (400, "Ironic fails on an old form of driver properties"),
    311: (409, "Ironic fails, and keeps an allocation that nobody made"),
}
# Lines whose answer differs in these keys, and why.
OTHER_KEYS: dict[int, tuple[set[str], str]] = {
    163: ({"history", "next"}, "what the replayed work would have left was not left"),
    225: ({"next"}, "Ironic loses the filter on the way to the next page"),
    302: ({"last_error"}, "it says more"),
    303: ({"allocations"}, "their last_error says more"),
    308: ({"last_error"}, "it says more"),
}
# Newer than the highest version that we speak.
TOO_NEW = {"available_for_dynamic_portgroup", "project", "state", "duration_seconds"}


def recorded_drivers() -> Drivers:
    """The drivers of the recorded service, as a conductor's row has them; ipmi as ours has it."""
    recorded: Drivers = msgspec.json.decode((Path(__file__).parent / "drivers39.json").read_text())
    return served() | recorded


class Replay:
    """Sends the records in order, with the UUIDs of the recording put in the place of ours and back."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.ours: dict[str, str] = {}

    def send(self, record: dict[str, Any]) -> tuple[int, Any]:
        """Our status and answer, in the recording's UUIDs."""
        minor = int(record["version"]) if record["version"].isdecimal() else None
        path, _, query = self._renamed(record["path"]).partition("?")
        body = (
            msgspec.json.decode(self._renamed(msgspec.json.encode(record["body"]).decode()))
            if "body" in record
            else None
        )
        headers = {"X-OpenStack-Ironic-API-Version": "latest"} if record["version"] == "latest" else {}
        result = self.service.ask(
            record["method"], path, body, minor=None if minor is None else min(minor, 110), query_string=query,
            headers=headers,
        )  # fmt: skip
        if result.status_code == 201 and "location" in record:
            theirs = UUID.search(record["location"])
            created = UUID.search(result.headers["location"])
            assert theirs is not None
            assert created is not None
            self.ours[theirs[0]] = created[0]
        text = result.text
        for theirs_, ours in self.ours.items():
            text = text.replace(ours, theirs_)
        return result.status_code, msgspec.json.decode(text) if text else None

    def settle(self, record: dict[str, Any]) -> None:
        """Bring the node to where the recorded one went."""
        found = UUID.search(record["path"])
        if "then" in record and found is not None:
            with self.service.database.write() as connection:
                values = record["then"] | {"reservation": None}
                uuid = self.ours[found[0]]
                connection.execute(sa.update(nodes).where(nodes.c.uuid == uuid).values(values))

    def _renamed(self, text: str) -> str:
        for theirs, ours in self.ours.items():
            text = text.replace(theirs, ours)
        return text


def plain(value: Any) -> Any:
    """A value without what no two services share: times, the order of enabled interfaces, whether a host is alive."""
    if isinstance(value, dict):
        return {key: _leaf(key, plain(one)) for key, one in value.items() if key not in TOO_NEW}
    return [plain(one) for one in value] if isinstance(value, list) else value


def _leaf(key: str, value: Any) -> Any:
    if key.startswith("enabled_"):
        return sorted(value)
    if key == "alive":  # false in Ironic's all-in-one service, which serves all the same
        return True
    return value is None if key.endswith("_at") else value


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Replay]:
    service = Service(sqlite(tmp_path), recorded_drivers())
    kinds = [kind for kind in INTERFACE_KINDS if kind != "vendor"]
    service.conductors.answers = {
        "validate_interfaces": dict.fromkeys(kinds, Validation(result=True)),
        "get_boot_device": BootChoice(BootDevice.PXE, persistent=False),
        "supported_boot_devices": [BootDevice.PXE],
        "get_indicators": list(INDICATORS),
        "get_indicator": Light.ON,
    }
    service.conductors.works["create_allocation"] = allocating(service.database)
    yield Replay(service)
    service.close()


def test_the_recording_of_ironic_39_replayed(replay: Replay) -> None:
    compared = 0
    for number, record in enumerate(RECORDS):
        where = f"line {number}: {record['method']} {record['path']} at {record['version']}"
        status, answer = replay.send(record)
        if NOT_THERE.search(record["path"]):
            assert status in (404, 405), where
        else:
            expected, _why = DIFFERENT.get(number, (record["status"], ""))
            assert status == expected, f"{where}: {answer}"
        if "answer" in record and status == record["status"]:
            other, _why = OTHER_KEYS.get(number, (set(), ""))
            theirs, ours = plain(record["answer"]), plain(answer)
            assert ours.keys() | other == theirs.keys() | other, where
            assert {key: one for key, one in ours.items() if key not in other} == {
                key: one for key, one in theirs.items() if key not in other
            }, where
            compared += 1
        replay.settle(record)
    assert compared > 40
    assert {name for _, name, _ in replay.service.conductors.calls} >= {"change_power", "change_provision_state"}
