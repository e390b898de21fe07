from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api.v1.ports import RECONNECTABLE
from ironic_lite.db import nodes, ports
from ironic_lite.db.nodes import Hold
from ironic_lite.db.tables import nodes as nodes_table
from ironic_lite.db.tables import ports as table
from ironic_lite.domain.states import Provision
from tests.builders import a_node
from tests.parts.api import Service, fault

MAC = "52:54:00:aa:bb:01"


def create(service: Service, **given: Any) -> Any:
    return service.ask("POST", "/v1/ports", {"address": MAC} | given)


def change(service: Service, ident: str, *operations: tuple[Any, ...], minor: int = 110) -> Any:
    body = [dict(zip(("op", "path", "value"), one, strict=False)) for one in operations]
    return service.ask("PATCH", f"/v1/ports/{ident}", body, minor=minor)


def test_a_port_is_made_shown_changed_and_removed(service: Service) -> None:
    node = a_node(service.database)
    made = create(service, node_uuid=node.uuid, address="52-54-00-AA-BB-01", name="eth0", pxe_enabled="no")
    port = made.json
    assert made.headers["Location"].endswith(f"/v1/ports/{port['uuid']}")
    assert (port["address"], port["node_uuid"], port["pxe_enabled"]) == (MAC, node.uuid, False)
    assert (port["internal_info"], port["local_link_connection"], port["portgroup_uuid"]) == ({}, {}, None)
    assert "node_ident" not in port
    for ident in (port["uuid"], "eth0"):
        assert service.ask("GET", f"/v1/ports/{ident}").json == port
    changed = change(service, "eth0", ("add", "/extra/a", 1), ("remove", "/name"), ("remove", "/pxe_enabled")).json
    assert (changed["extra"], changed["name"], changed["pxe_enabled"]) == ({"a": 1}, None, True)
    assert changed["updated_at"] is not None
    assert service.ask("DELETE", f"/v1/ports/{port['uuid']}").status_code == 204
    assert service.ask("GET", f"/v1/ports/{port['uuid']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, ["node_uuid", "node_ident"]),
        ({"node_uuid": "NODE", "node_ident": "NODE"}, ["node_uuid", "node_ident"]),
        ({"node_uuid": "n1"}, ["node_uuid", "n1"]),
        ({"node_uuid": "11111111-1111-1111-1111-111111111111"}, ["11111111"]),
        ({"node_ident": "nobody"}, ["nobody"]),
        ({"node_uuid": "NODE", "address": "zz"}, ["address", "zz"]),
        ({"node_uuid": "NODE", "address": None}, ["address"]),
        ({"node_uuid": "NODE", "physical_network": "x" * 65}, ["physical_network", "64"]),
        ({"node_uuid": "NODE", "local_link_connection": {"port_id": 1}}, ["local_link_connection"]),
        ({"node_uuid": "NODE", "local_link_connection": {"port_id": "1"}}, ["switch_id"]),
        ({"node_uuid": "NODE", "local_link_connection": {"port_id": "1", "switch_id": "z"}}, ["switch_id", "z"]),
        ({"node_uuid": "NODE", "portgroup_uuid": "11111111-1111-1111-1111-111111111111"}, ["11111111"]),
        ({"node_uuid": "NODE", "internal_info": {}}, ["internal_info"]),
        ({"node_uuid": "NODE", "name": "a b"}, ["name", "a b"]),
    ],
)
def test_a_wrong_port_is_400_names_what_is_wrong_and_is_not_made(
    service: Service, body: dict[str, Any], named: list[str]
) -> None:
    node = a_node(service.database, name="n1")
    result = create(service, **{key: node.uuid if value == "NODE" else value for key, value in body.items()})
    assert result.status_code == 400
    assert all(word in fault(result)["faultstring"] for word in named), fault(result)["faultstring"]
    assert service.rows(table) == []


@pytest.mark.parametrize(
    ("link", "minor", "status"),
    [
        ({}, 110, 201),
        ({"switch_id": "0A:1B:2c:3d:4e:5f", "port_id": "e1"}, 110, 201),
        ({"switch_id": "0123456789abcdef", "port_id": "e1", "switch_info": "s"}, 110, 201),
        ({"port_id": "e1", "hostname": "h"}, 110, 201),
        ({"network_type": "unmanaged"}, 64, 201),
        ({"network_type": "unmanaged"}, 63, 400),
        ({"network_type": "managed"}, 110, 400),
    ],
)
def test_what_a_port_may_be_linked_to(service: Service, link: dict[str, str], minor: int, status: int) -> None:
    body = {"address": MAC, "node_uuid": a_node(service.database).uuid, "local_link_connection": link}
    assert service.ask("POST", "/v1/ports", body, minor=minor).status_code == status


@pytest.mark.parametrize(("field", "value"), [("address", MAC), ("name", "eth0")])
def test_what_is_unique_is_409_and_named(service: Service, field: str, value: str) -> None:
    node = a_node(service.database)
    assert create(service, node_uuid=node.uuid, **{field: value}).status_code == 201
    result = create(service, node_uuid=node.uuid, **{"address": "52:54:00:aa:bb:02", field: value})
    assert result.status_code == 409
    assert fault(result)["faultstring"] == f"A port with {field} {value} already exists."


@pytest.mark.parametrize("state", list(Provision))
def test_what_is_plugged_changes_only_while_nobody_relies_on_it(service: Service, state: Provision) -> None:
    node = a_node(service.database, provision_state=state)
    uuid = create(service, node_uuid=node.uuid).json["uuid"]
    expected = 200 if state in RECONNECTABLE else 409
    assert change(service, uuid, ("replace", "/pxe_enabled", False)).status_code == expected
    assert change(service, uuid, ("add", "/extra/a", 1)).status_code == 200
    with service.database.write() as connection:
        connection.execute(sa.update(nodes_table).values(maintenance=True))
    assert change(service, uuid, ("add", "/physical_network", "p")).status_code == 200


def test_a_port_moves_to_a_node_that_is_there(service: Service) -> None:
    one, other = a_node(service.database), a_node(service.database, name="other")
    uuid = create(service, node_uuid=one.uuid).json["uuid"]
    nobody = "11111111-1111-1111-1111-111111111111"
    assert change(service, uuid, ("replace", "/node_uuid", nobody)).status_code == 400
    assert change(service, uuid, ("remove", "/node_uuid")).status_code == 400
    assert change(service, uuid, ("replace", "/node_uuid", other.uuid)).json["node_uuid"] == other.uuid
    assert change(service, uuid, ("add", "/node_ident", one.uuid)).json["node_uuid"] == one.uuid
    assert change(service, uuid, ("add", "/node_ident", "other"), minor=93).status_code == 406


def test_a_held_node_s_ports_cannot_be_changed(service: Service) -> None:
    node = a_node(service.database)
    uuid = create(service, node_uuid=node.uuid).json["uuid"]
    nodes.take(service.database, node, Hold("h2", "lock"), "power on", {})
    before = service.rows(table)
    for result in (change(service, uuid, ("add", "/extra/a", 1)), service.ask("DELETE", f"/v1/ports/{uuid}")):
        assert result.status_code == 409
        assert "h2" in fault(result)["faultstring"]
    assert service.rows(table) == before


def test_a_port_is_changed_only_as_it_was_read(service: Service) -> None:
    node = a_node(service.database)
    uuid = create(service, node_uuid=node.uuid).json["uuid"]
    ports.change(service.database, uuid, 0, {"category": "one"})
    with pytest.raises(errors.ChangedMeanwhile):
        ports.change(service.database, uuid, 0, {"category": "two"})
    with pytest.raises(errors.ChangedMeanwhile):
        ports.delete(service.database, uuid, 0)
    with pytest.raises(errors.PortNotFound):
        ports.delete(service.database, node.uuid, 0)
    assert service.ask("GET", f"/v1/ports/{uuid}").json["category"] == "one"


def test_a_port_never_belongs_to_a_node_that_has_gone(service: Service) -> None:
    node = a_node(service.database)
    uuid = create(service, node_uuid=node.uuid).json["uuid"]
    flags = {"pxe_enabled": True, "is_smartnic": False}
    objects: dict[str, Any] = {"extra": {}, "local_link_connection": {}, "internal_info": {}}
    a_port = {"uuid": node.uuid, "address": "52:54:00:aa:bb:02"} | flags | objects
    with pytest.raises(errors.Invalid):
        ports.insert(service.database, 999, a_port)
    with pytest.raises(errors.ChangedMeanwhile):
        ports.change(service.database, uuid, 0, {"node_id": 999})
    assert len(service.rows(table)) == 1


def test_ports_are_listed_and_filtered_in_one_select(service: Service) -> None:
    one, other = a_node(service.database, name="one", shard="s1"), a_node(service.database, conductor_group="g")
    first = create(service, node_uuid=one.uuid, description="left 1").json["uuid"]
    second = create(service, node_uuid=other.uuid, address="52:54:00:aa:bb:02").json["uuid"]
    queries = {
        "": [first, second], f"?address={MAC.upper()}": [first], "?address=52:54:00:00:00:09": [], "?node=one": [first],
        f"?node_uuid={other.uuid}": [second], "?shard=s1": [first], "?conductor_groups=g,h": [second],
        "?description_contains=left": [first], "?sort_key=address&sort_dir=desc": [second, first],
        "?detail=true": [first, second],
    }  # fmt: skip
    for query, expected in queries.items():
        assert [port["uuid"] for port in service.ask("GET", f"/v1/ports{query}").json["ports"]] == expected, query
    assert [port["uuid"] for port in service.ask("GET", "/v1/nodes/one/ports").json["ports"]] == [first]
    seen = service.statements()
    shown = service.ask("GET", "/v1/ports?fields=node_uuid,uuid,address").json["ports"]
    assert [port["node_uuid"] for port in shown] == [one.uuid, other.uuid]
    assert service.ask("GET", "/v1/ports/detail").json["ports"][0]["node_uuid"] == one.uuid
    assert len(seen) == 2
    assert service.ask("GET", "/v1/ports?node=nobody").status_code == 404
    assert service.ask("GET", "/v1/nodes/nobody/ports").status_code == 404
    assert service.ask("GET", f"/v1/ports/{MAC}").status_code == 400


def test_a_node_s_ports_have_their_details(service: Service) -> None:
    node = a_node(service.database, name="n1")
    port = create(service, node_ident="n1").json
    assert service.ask("GET", "/v1/nodes/n1/ports/detail").json == {"ports": [port]}
    assert service.ask("GET", f"/v1/nodes/{node.uuid}/ports?fields=address").json["ports"][0]["address"] == MAC
