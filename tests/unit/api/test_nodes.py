from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ironic_lite import config, errors
from ironic_lite.api.caller import Caller
from ironic_lite.api.v1 import nodes as api_nodes
from ironic_lite.db import nodes
from ironic_lite.db.nodes import Hold
from ironic_lite.db.tables import conductors as conductors_table
from ironic_lite.db.tables import nodes as table
from ironic_lite.db.tables import ports as ports_table
from ironic_lite.domain.states import DELETABLE, PATCHABLE_ON_THE_WAY, STABLE, Provision
from tests.parts.api import Service, fault, served, sqlite


def create(service: Service, **given: Any) -> str:
    result = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"} | given)
    assert result.status_code == 201, result.text
    uuid: str = result.json["uuid"]
    return uuid


def put(service: Service, uuid: str, **values: Any) -> None:
    """Bring the node where only a conductor could."""
    with service.database.write() as connection:
        connection.execute(sa.update(table).where(table.c.uuid == uuid).values(**values))


def change(service: Service, uuid: str, *operations: tuple[Any, ...], query: str = "", minor: int = 110) -> Any:
    body = [dict(zip(("op", "path", "value"), one, strict=False)) for one in operations]
    return service.ask("PATCH", f"/v1/nodes/{uuid}{query}", body, minor=minor)


def test_a_new_node_is_complete(service: Service) -> None:
    result = service.ask("POST", "/v1/nodes", {"driver": "redfish", "extra": {"a": [1, {"b": None}]}})
    node = result.json
    assert result.headers["Location"].endswith(f"/v1/nodes/{node['uuid']}")
    assert (node["provision_state"], node["power_interface"], node["conductor"]) == ("enroll", "redfish", "refhost")
    assert node["extra"] == {"a": [1, {"b": None}]}
    assert node["created_at"].endswith("+00:00")
    assert len(node["created_at"]) == len("2026-01-01T00:00:00.000000+00:00")
    assert node["updated_at"] is None
    assert service.ask("GET", f"/v1/nodes/{node['uuid']}").json == node


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, ["driver"]),
        ({"driver": "ilo"}, ["ilo", "fake-hardware"]),
        ({"driver": 5}, ["driver", "5"]),
        ({"driver": "fake-hardware", "conductor_group": "mars"}, ["mars", "fake-hardware"]),
        ({"driver": "fake-hardware", "power_interface": "redfish"}, ["power_interface", "redfish", "fake"]),
        ({"driver": "fake-hardware", "colour": "red", "size": 1}, ["colour", "size", "driver_info"]),
        ({"driver": "fake-hardware", "protected": True}, ["protected"]),
        ({"driver": "fake-hardware", "provision_state": "active"}, ["provision_state"]),
        ({"driver": "fake-hardware", "uuid": "me"}, ["uuid", "me"]),
        ({"driver": "fake-hardware", "name": "states"}, ["states"]),
        ({"driver": "fake-hardware", "name": "a b"}, ["a b"]),
        ({"driver": "fake-hardware", "driver_info": []}, ["driver_info"]),
        ({"driver": "fake-hardware", "automated_clean": "perhaps"}, ["automated_clean", "perhaps"]),
        ({"driver": "fake-hardware", "resource_class": "x" * 81}, ["resource_class", "80"]),
        ({"driver": "fake-hardware", "description": "x" * 4097}, ["description", "4096"]),
        ({"driver": "fake-hardware", "owner": "\x00"}, ["owner", "NUL"]),
        ({"driver": "fake-hardware", "network_data": {"wires": []}}, ["network_data", "wires"]),
        ({"driver": "fake-hardware", "parent_node": "nobody"}, ["parent_node", "nobody"]),
        ({"driver": "fake-hardware", "retired_reason": "old"}, ["retired_reason"]),
        ({"driver": "fake-hardware", "chassis_uuid": "11111111-1111-1111-1111-111111111111"}, ["11111111"]),
    ],
)
def test_a_wrong_node_is_400_names_what_is_wrong_and_is_not_made(
    service: Service, body: dict[str, Any], named: list[str]
) -> None:
    result = service.ask("POST", "/v1/nodes", body)
    assert result.status_code == 400
    assert all(word in fault(result)["faultstring"] for word in named), fault(result)["faultstring"]
    assert service.rows(table) == []


def test_the_interfaces_are_those_that_the_conductor_has_enabled(tmp_path: Path) -> None:
    made = Service(sqlite(tmp_path), served(fake_hardware={"power": ["fake"], "bios": ["other", "no-bios"]}))
    node = made.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}).json
    assert (node["bios_interface"], node["deploy_interface"]) == ("other", None)
    assert made.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "bios_interface": "no-bios"}).status_code == 201
    made.close()


@pytest.mark.parametrize("field", ["uuid", "name", "instance_uuid"])
def test_what_is_unique_is_409_and_named(service: Service, field: str) -> None:
    value = "name-1" if field == "name" else "11111111-1111-1111-1111-111111111111"
    create(service, **{field: value})
    result = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware", field: value})
    assert result.status_code == 409
    assert fault(result)["faultstring"] == f"A node with {field} {value} already exists."
    assert len(service.rows(table)) == 1


def test_secrets_are_never_shown(service: Service) -> None:
    secret = {"redfish_password": "hunter2", "deep": {"ssh_private_key": "hunter2"}, "snmp_community": "hunter2"}
    created = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "driver_info": secret})
    uuid = created.json["uuid"]
    info = [{"op": "add", "path": "/instance_info", "value": {"configdrive": "hunter2", "image_url": "hunter2"}}]
    put(service, uuid, driver_internal_info={"agent_secret_token": "hunter2"})
    answers = [
        created, service.ask("PATCH", f"/v1/nodes/{uuid}", info), service.ask("GET", f"/v1/nodes/{uuid}"),
        service.ask("GET", "/v1/nodes/detail"), service.ask("GET", "/v1/nodes?fields=driver_info,instance_info"),
    ]  # fmt: skip
    for answer in answers:
        assert answer.status_code < 300
        assert "hunter2" not in answer.text
        assert "******" in answer.text
    stored = service.rows(table)[0]
    assert secret in stored


def test_a_patch_keeps_the_secrets_that_it_does_not_touch(service: Service) -> None:
    uuid = create(service, driver_info={"redfish_password": "hunter2", "redfish_username": "a"})
    assert change(service, uuid, ("add", "/driver_info/redfish_username", "b")).status_code == 200
    assert {"redfish_password": "hunter2", "redfish_username": "b"} in service.rows(table)[0]


def test_a_patch_answers_with_the_node_as_it_is_now(service: Service) -> None:
    uuid = create(service, name="n1")
    result = change(
        service, "n1", ("add", "/extra/a.b", 1), ("add", "/extra/x~1y", True), ("replace", "/name", "n2"),
        ("add", "/maintenance", "yes"), ("remove", "/owner"),
    )  # fmt: skip
    assert result.json == service.ask("GET", f"/v1/nodes/{uuid}").json
    assert (result.json["extra"], result.json["name"]) == ({"a.b": 1, "x/y": True}, "n2")
    assert (result.json["maintenance"], result.json["reservation"]) == (True, None)
    assert result.json["updated_at"] is not None
    assert change(service, uuid, ("add", "/extra/x~1y", 1)).json["extra"]["x/y"] is not True


def test_a_patch_that_changes_nothing_writes_nothing(service: Service) -> None:
    uuid = create(service, extra={"a": 1})
    before, seen = service.rows(table), service.statements()
    assert change(service, uuid).status_code == 200
    assert change(service, uuid, ("add", "/extra/a", 1)).status_code == 200
    assert service.rows(table) == before
    assert not any(one.startswith("UPDATE") for one in seen)


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        (("add", "/uuid", "11111111-1111-1111-1111-111111111111"), 400),
        (("add", "/traits", []), 400),
        (("add", "/nonsense", 1), 400),
        (("test", "/extra", {}), 400),
        (("remove", "/driver"), 400),
        (("replace", "/driver", "ilo"), 400),
        (("add", "/name", None), 400),
        (("add", "/name", "detail"), 400),
        (("remove", "/extra/a"), 400),
        (("replace", "/extra/a", 1), 400),
        (("add", "/driver_info", None), 200),
        (("add", "/protected", True), 409),
        (("add", "/protected_reason", "why"), 400),
        (("add", "/retired_reason", "why"), 400),
        (("add", "/retired", True), 200),
        (("add", "/parent_node", "nobody"), 400),
        (("add", "/power_interface", "redfish"), 400),
        (("add", "/deploy_interface", None), 200),
        (("add", "/conductor_group", "mars"), 400),
        (("add", "/instance_uuid", "me"), 400),
        (("add", "/chassis_uuid", None), 200),
    ],
)
def test_what_a_patch_may(service: Service, operation: tuple[Any, ...], status: int) -> None:
    uuid = create(service)
    before = service.rows(table)
    result = change(service, uuid, operation)
    assert result.status_code == status, result.text
    if status >= 400:
        assert service.rows(table) == before


def test_a_node_cannot_be_its_own_parent_and_children_show_only_when_asked_for(service: Service) -> None:
    parent, child = create(service, name="p"), create(service, name="c")
    assert change(service, parent, ("add", "/parent_node", "p")).status_code == 400
    assert change(service, child, ("add", "/parent_node", "p")).json["parent_node"] == parent
    names = [
        {one["name"] for one in service.ask("GET", f"/v1/nodes{query}").json["nodes"]}
        for query in ("", "?include_children=true", "?parent_node=p", "?include_children=false")
    ]
    assert names == [{"p"}, {"p", "c"}, {"c"}, {"p"}]
    assert service.ask("GET", "/v1/nodes?parent_node=nobody").status_code == 404


def test_an_instance_is_not_taken_over(service: Service) -> None:
    uuid = create(service, instance_uuid="11111111-1111-1111-1111-111111111111")
    other = "22222222-2222-2222-2222-222222222222"
    assert change(service, uuid, ("add", "/instance_uuid", other)).status_code == 409
    assert service.ask("DELETE", f"/v1/nodes/{uuid}").status_code == 409
    assert change(service, uuid, ("remove", "/instance_uuid")).status_code == 200
    assert change(service, uuid, ("add", "/instance_uuid", other)).status_code == 200


def test_a_change_of_driver_needs_its_interfaces(service: Service) -> None:
    uuid = create(service)
    assert change(service, uuid, ("add", "/driver", "redfish")).status_code == 400
    result = change(service, uuid, ("add", "/driver", "redfish"), query="?reset_interfaces=true")
    assert (result.json["driver"], result.json["power_interface"]) == ("redfish", "redfish")
    assert change(service, uuid, ("add", "/extra/a", 1), query="?reset_interfaces=true").status_code == 400
    assert (
        change(service, uuid, ("add", "/driver", "redfish"), query="?reset_interfaces=true", minor=44).status_code
        == 406
    )
    put(service, uuid, provision_state="active")
    assert change(service, uuid, ("remove", "/bios_interface")).status_code == 409
    refused = change(service, uuid, ("add", "/driver", "fake-hardware"), query="?reset_interfaces=true")
    assert refused.status_code == 409
    put(service, uuid, maintenance=True)
    allowed = change(service, uuid, ("add", "/driver", "fake-hardware"), query="?reset_interfaces=true")
    assert allowed.json["power_interface"] == "fake"


@pytest.mark.parametrize("state", list(Provision))
def test_in_which_states_a_node_can_be_changed(service: Service, state: Provision) -> None:
    uuid = create(service)
    put(service, uuid, provision_state=state, target_provision_state=None if state in STABLE else "available")
    closed = state is Provision.INSPECTING
    for minor, open_ in ((110, not closed), (38, True)):
        expected = 200 if (state in STABLE or state in PATCHABLE_ON_THE_WAY) and open_ else 409
        assert change(service, uuid, ("add", "/extra/a", minor), minor=minor).status_code == expected


@pytest.mark.parametrize("state", list(Provision))
def test_in_which_states_a_node_can_be_deleted(service: Service, state: Provision) -> None:
    uuid = create(service)
    put(service, uuid, provision_state=state)
    assert service.ask("DELETE", f"/v1/nodes/{uuid}").status_code == (204 if state in DELETABLE else 409)
    if state not in DELETABLE:
        put(service, uuid, maintenance=True)
        assert service.ask("DELETE", f"/v1/nodes/{uuid}").status_code == 204
    assert service.rows(table) == []


def test_an_available_node_stays_if_the_option_says_so(service: Service) -> None:
    config.CONF.set_override("allow_deleting_available_nodes", False, "conductor")
    uuid = create(service)
    put(service, uuid, provision_state="available")
    assert service.ask("DELETE", f"/v1/nodes/{uuid}").status_code == 409


def test_deleting_a_node_takes_what_belongs_to_it(service: Service) -> None:
    uuid = create(service)
    assert service.ask("POST", "/v1/ports", {"node_uuid": uuid, "address": "52:54:00:00:00:01"}).status_code == 201
    assert service.ask("DELETE", f"/v1/nodes/{uuid}").status_code == 204
    assert service.rows(ports_table) == []
    assert service.ask("DELETE", f"/v1/nodes/{uuid}").status_code == 404


def test_protection_ends_deleting_and_takes_its_reason_with_it(service: Service) -> None:
    uuid = create(service)
    put(service, uuid, provision_state="active", maintenance=True)
    assert change(service, uuid, ("add", "/protected", True), ("add", "/protected_reason", "why")).status_code == 200
    assert service.ask("DELETE", f"/v1/nodes/{uuid}").status_code == 403
    assert change(service, uuid, ("add", "/protected", False)).json["protected_reason"] is None


def test_a_held_node_refuses_every_change(service: Service) -> None:
    uuid = create(service)
    nodes.take(service.database, nodes.get(service.database, uuid), Hold("h2", "lock"), "power on", {})
    before = service.rows(table)
    for method, path, body in (
        ("PATCH", "", [{"op": "add", "path": "/extra/a", "value": 1}]), ("DELETE", "", None),
        ("PUT", "/maintenance", {"reason": "r"}),
    ):  # fmt: skip
        result = service.ask(method, f"/v1/nodes/{uuid}{path}", body)
        assert result.status_code == 409
        assert "h2" in fault(result)["faultstring"]
        assert result.headers["Retry-After"] == "1"
    assert service.rows(table) == before


@pytest.mark.parametrize(("others", "outcome"), [(0, "passes"), (2, "passes"), (3, "refused")])
def test_a_change_that_meets_another_one_reads_again_a_few_times(service: Service, others: int, outcome: str) -> None:
    uuid = create(service)
    left = list(range(others))

    def rule(node: dict[str, Any]) -> dict[str, Any]:
        if left:  # between our reading and our writing, somebody else writes
            nodes.change(service.database, uuid, node["revision"], {"owner": f"somebody {left.pop()}"})
        return {"extra": node["extra"] | {"ours": True}}

    def ours() -> str:
        return api_nodes.change(service.app_parts, Caller(110, "req-1", "http://here"), uuid, rule)

    if outcome == "passes":
        assert ours() == uuid
    else:
        with pytest.raises(errors.ChangedMeanwhile):
            ours()
    node = service.ask("GET", f"/v1/nodes/{uuid}").json
    assert node["owner"] == ("somebody 0" if others else None)
    assert node["extra"] == ({"ours": True} if outcome == "passes" else {})


def test_maintenance_has_an_endpoint_of_its_own(service: Service) -> None:
    uuid = create(service, name="n1")
    shown = ("maintenance", "maintenance_reason", "fault")
    for body, reason in (({"reason": "broken fan"}, "broken fan"), ({}, None), (None, None)):
        result = service.ask("PUT", "/v1/nodes/n1/maintenance", body)
        assert (result.status_code, result.text, result.headers["content-type"]) == (202, "", "")
        node = service.ask("GET", f"/v1/nodes/{uuid}").json
        assert [node[name] for name in shown] == [True, reason, None]
    put(service, uuid, fault="power failure", maintenance_reason="no answer")
    assert service.ask("DELETE", "/v1/nodes/n1/maintenance").status_code == 202
    node = service.ask("GET", f"/v1/nodes/{uuid}").json
    assert [node[name] for name in shown] == [False, None, None]
    assert service.ask("PUT", "/v1/nodes/n1/maintenance", {"why": 1}).status_code == 400
    assert service.ask("PUT", "/v1/nodes/n1/maintenance", {"reason": 1}).status_code == 400
    assert service.ask("GET", "/v1/nodes/n1/maintenance").status_code == 405


def test_leaving_maintenance_by_patch_clears_its_reasons_too(service: Service) -> None:
    uuid = create(service)
    put(service, uuid, maintenance=True, maintenance_reason="r", fault="power failure")
    node = change(service, uuid, ("replace", "/maintenance", False)).json
    assert (node["maintenance"], node["maintenance_reason"], node["fault"]) == (False, None, None)


def test_a_node_without_a_conductor_shows_none(service: Service) -> None:
    uuid = create(service)
    with service.database.write() as connection:
        connection.execute(sa.update(conductors_table).values(online=False))
    service.members.forget()
    assert service.ask("GET", f"/v1/nodes/{uuid}").json["conductor"] is None
    refused = service.ask("PUT", f"/v1/nodes/{uuid}/states/power", {"target": "power on"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")


def test_names_are_found_as_their_version_allows(service: Service) -> None:
    uuid = create(service, name="ns~host")
    assert service.ask("GET", "/v1/nodes/ns~host", minor=10).json["uuid"] == uuid
    assert service.ask("GET", "/v1/nodes/ns~host", minor=9).status_code == 400
    assert service.ask("GET", "/v1/nodes/ns~host", minor=4).status_code == 404
    assert service.ask("GET", f"/v1/nodes/{uuid.replace('-', '').upper()}", minor=1).json["uuid"] == uuid
    assert service.ask("GET", "/v1/nodes/a%20b").status_code == 400
