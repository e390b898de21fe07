"""Requests that make no sense: each is refused with the name of what is wrong, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts.service import Service, service

SECRET = "do-not-tell-7"
UUID = "11111111-0000-4000-8000-000000000001"
NOBODY = "99999999-0000-4000-8000-000000000009"
NODE = {"driver": "fake-hardware"}
LONG = b'{"driver": "fake-hardware", "extra": {"a": "' + b"x" * (2 << 20) + b'"}}'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one node, whose whole log is searched for the secrets that were sent."""
    with service(tmp_path_factory.mktemp("service")) as started:
        started.create("one", uuid=UUID, driver_info={"redfish_password": SECRET})
        yield started
    assert " DEBUG " in started.log()
    assert SECRET not in started.log()
    assert "Traceback" not in started.log()


def patch(op: str, path: str, *value: object) -> list[dict[str, object]]:
    return [{"op": op, "path": path, **({"value": value[0]} if value else {})}]


@pytest.mark.parametrize(
    ("method", "path", "body", "version", "status", "says"),
    [
        # Nodes that cannot be.
        ("POST", "/v1/nodes", {"driver": "toaster"}, "1.110", 400, "served are: fake-hardware, ipmi, redfish"),
        ("POST", "/v1/nodes", {"driver": 5}, "1.110", 400, "Expected a text for driver"),
        ("POST", "/v1/nodes", {}, "1.110", 400, "driver is mandatory"),
        ("POST", "/v1/nodes", NODE | {"uuid": "five"}, "1.110", 400, "uuid"),
        ("POST", "/v1/nodes", NODE | {"name": "a name"}, "1.110", 400, "name"),
        ("POST", "/v1/nodes", NODE | {"colour": "red"}, "1.110", 400, "colour"),
        ("POST", "/v1/nodes", NODE | {"extra": []}, "1.110", 400, "Expected an object for extra"),
        ("POST", "/v1/nodes", NODE | {"maintenance": "perhaps"}, "1.110", 400, "maintenance"),
        ("POST", "/v1/nodes", NODE | {"power_interface": "redfish"}, "1.110", 400, "allowed are: fake"),
        ("POST", "/v1/nodes", NODE | {"name": "one"}, "1.110", 409, "already exists"),
        ("POST", "/v1/nodes", NODE | {"uuid": UUID}, "1.110", 409, "already exists"),
        ("POST", "/v1/nodes", NODE | {"driver_info": [{"redfish_password": SECRET}]}, "1.110", 400, "driver_info"),
        ("POST", "/v1/nodes", NODE | {"driver_info": SECRET}, "1.110", 400, "driver_info"),
        ("POST", "/v1/nodes", NODE | {"instance_info": [SECRET]}, "1.110", 400, "instance_info"),
        ("POST", "/v1/nodes", NODE | {"disable_power_off": True}, "1.94", 406, "disable_power_off"),
        # Bodies that are none.
        ("POST", "/v1/nodes", b'{"driver": ', "1.110", 400, "not valid JSON"),
        ("POST", "/v1/nodes", b"\xff\xfe", "1.110", 400, "not valid JSON"),
        ("POST", "/v1/nodes", b"", "1.110", 400, "body"),
        ("POST", "/v1/nodes", [], "1.110", 400, "Expected `object`"),
        ("POST", "/v1/nodes", b'{"driver": "fake-hardware", "extra": {"a": NaN}}', "1.110", 400, "not valid JSON"),
        ("POST", "/v1/nodes", b'{"driver": "fake-hardware", "extra": {"a": 1e400}}', "1.110", 400, "out of range"),
        ("POST", "/v1/nodes", b'{"extra": ' + b'{"a": ' * 50 + b"1" + b"}" * 51, "1.110", 400, "25"),
        ("POST", "/v1/nodes", LONG, "1.110", 413, "1024 KiB"),
        # Nodes that are not there.
        ("GET", f"/v1/nodes/{NOBODY}", None, "1.110", 404, NOBODY),
        ("GET", "/v1/nodes/not%20a%20name", None, "1.110", 400, "not a name"),
        ("PATCH", "/v1/nodes/nobody", patch("add", "/extra/a", 1), "1.110", 404, "nobody"),
        ("DELETE", "/v1/nodes/nobody", None, "1.110", 404, "nobody"),
        ("PUT", "/v1/nodes/nobody/states/power", {"target": "power on"}, "1.110", 404, "nobody"),
        ("DELETE", "/v1/nodes", None, "1.110", 405, "allowed are: GET"),
        ("GET", "/v1/unicorns", None, "1.110", 404, "/v1/unicorns"),
        # Changes that do not apply.
        ("PATCH", "/v1/nodes/one", patch("improve", "/extra/a", 1), "1.110", 400, "improve"),
        ("PATCH", "/v1/nodes/one", patch("add", "/colour", "red"), "1.110", 400, "/colour"),
        ("PATCH", "/v1/nodes/one", patch("replace", "/uuid", NOBODY), "1.110", 400, "uuid"),
        ("PATCH", "/v1/nodes/one", patch("remove", "/extra/none"), "1.110", 400, "/extra/none"),
        ("PATCH", "/v1/nodes/one", patch("remove", "/driver"), "1.110", 400, "driver"),
        ("PATCH", "/v1/nodes/one", patch("replace", "/driver", "toaster"), "1.110", 400, "served are"),
        ("PATCH", "/v1/nodes/one", patch("replace", "/name", "no name"), "1.110", 400, "name"),
        ("PATCH", "/v1/nodes/one", patch("replace", "/driver_info", SECRET), "1.110", 400, "driver_info"),
        ("PATCH", "/v1/nodes/one", patch("test", "/driver_info/redfish_password", "a guess"), "1.110", 400, "test"),
        ("PATCH", "/v1/nodes/one", patch("add", "/disable_power_off", True), "1.94", 406, "disable_power_off"),
        ("PATCH", "/v1/nodes/one", {"op": "add"}, "1.110", 400, "Expected `array`"),
        # Actions that are none.
        ("PUT", "/v1/nodes/one/states/power", {"target": "explode"}, "1.110", 400, "allowed are: power on"),
        ("PUT", "/v1/nodes/one/states/power", {"target": 5}, "1.110", 400, "target"),
        ("PUT", "/v1/nodes/one/states/power", {"target": "power on", "timeout": -1}, "1.110", 400, "timeout"),
        ("PUT", "/v1/nodes/one/states/power", {"target": "power on", "timeout": "long"}, "1.110", 400, "timeout"),
        ("PUT", "/v1/nodes/one/states/power", {"target": "power on", "speed": 1}, "1.110", 400, "Allowed keys are"),
        ("PUT", "/v1/nodes/one/states/power", {"target": "soft power off"}, "1.26", 406, "1.27"),
        ("PUT", "/v1/nodes/one/states/provision", {"target": "explode"}, "1.110", 400, "explode"),
        ("PUT", "/v1/nodes/one/states/provision", {"target": "provide"}, "1.110", 400, "enroll"),
        ("PUT", f"/v1/nodes/{UUID}/states/provision", {"target": "manage"}, "1.3", 406, "1.4"),
        ("PUT", "/v1/nodes/one/management/boot_device", {"boot_device": "tape"}, "1.110", 400, "allowed are: pxe"),
        ("PUT", "/v1/nodes/one/management/boot_device", {"boot_device": "bios"}, "1.110", 400, "pxe, disk, cdrom"),
        ("PUT", "/v1/nodes/one/management/boot_device", {"boot_device": "pxe", "persistent": 9}, "1.110", 400, "pers"),
        ("PUT", "/v1/nodes/one/maintenance", {"reason": 5}, "1.110", 400, "reason"),
        # Ports that cannot be.
        ("POST", "/v1/ports", {"address": "five", "node_uuid": UUID}, "1.110", 400, "address"),
        ("POST", "/v1/ports", {"address": "52:54:00:00:00:01"}, "1.110", 400, "node_uuid and node_ident"),
        ("POST", "/v1/ports", {"address": "52:54:00:00:00:01", "node_uuid": NOBODY}, "1.110", 400, NOBODY),
        ("POST", "/v1/ports", {"address": "52:54:00:00:00:01", "node_ident": "one"}, "1.93", 406, "node_ident"),
        # Questions that make no sense.
        ("GET", "/v1/nodes?limit=many", None, "1.110", 400, "limit"),
        ("GET", "/v1/nodes?limit=-1", None, "1.110", 400, "limit"),
        ("GET", "/v1/nodes?marker=nobody", None, "1.110", 400, "marker"),
        ("GET", "/v1/nodes?sort_key=driver_info", None, "1.110", 400, "sort_key"),
        ("GET", "/v1/nodes?sort_dir=up", None, "1.110", 400, "sort_dir"),
        ("GET", "/v1/nodes?fields=name,colour", None, "1.110", 400, "colour"),
        ("GET", "/v1/nodes?colour=red", None, "1.110", 400, "colour"),
        ("GET", "/v1/nodes?provision_state=happy", None, "1.110", 400, "provision_state"),
        ("GET", "/v1/nodes?fields=disable_power_off", None, "1.94", 406, "disable_power_off"),
        ("GET", "/v1/nodes", None, "1.999", 406, "1.999"),
        ("GET", "/v1/nodes", None, "two", 406, "two"),
        ("GET", "/v1/drivers/toaster", None, "1.110", 404, "toaster"),
        ("GET", "/v1/conductors/nobody", None, "1.110", 404, "nobody"),
    ],
)  # fmt: skip
def test_it_is_refused_and_changes_nothing(
    running: Service, *, method: str, path: str, body: object, version: str, status: int, says: str
) -> None:
    before = everything(running)
    answered, headers, document = running.request(method, path, body, version)
    assert answered == status, document
    assert headers["content-type"] == "application/json"
    assert says in document["error_message"]
    assert SECRET not in str(document)
    assert not [sign for sign in ("Traceback", ".py", "sqlalchemy", "msgspec") if sign in str(document)]
    assert everything(running) == before


def everything(running: Service) -> Any:
    """What is stored of nodes and ports; a lock that was taken and let go is seen in `updated_at`, and is no change."""
    nodes = running.get("/v1/nodes?detail=true")["nodes"]
    return [node | {"updated_at": None} for node in nodes], running.get("/v1/ports?detail=true")["ports"]
