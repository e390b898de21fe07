"""Allocations over HTTP; the conductor's part is done at once, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.clock import new_uuid
from ironic_lite.db import allocations, conductors, nodes
from ironic_lite.db.nodes import Hold
from tests.builders import a_node
from tests.parts.api import Service, allocating, fault

AT = "/v1/allocations"
OTHER = "22222222-2222-2222-2222-222222222222"


@pytest.fixture(autouse=True)
def works(service: Service) -> None:
    service.conductors.works["create_allocation"] = allocating(service.database)


def free(service: Service, **given: Any) -> str:
    row = {"provision_state": "available", "power_state": "power off", "resource_class": "big"}
    return a_node(service.database, **(row | given)).uuid


def make(service: Service, **body: Any) -> Any:
    result = service.ask("POST", AT, {"resource_class": "big", **body})
    assert result.status_code == 201, result.json
    return result


def item(service: Service, ident: str) -> Any:
    return service.ask("GET", f"{AT}/{ident}").json


def put(service: Service, node: str, **values: Any) -> None:
    nodes.change(service.database, node, nodes.get(service.database, node).revision, values)


def test_an_allocation_begins_and_then_has_a_node(service: Service) -> None:
    node = free(service, name="n1")
    made = make(service, name="a1", traits=[], candidate_nodes=["n1", node.upper()], extra={"k": 1}, owner=None)
    uuid = made.json["uuid"]
    assert made.headers["location"] == f"http://127.0.0.1:46385/v1/allocations/{uuid}"
    assert {key: made.json[key] for key in ("state", "node_uuid", "last_error", "updated_at", "candidate_nodes")} == {
        "state": "allocating", "node_uuid": None, "last_error": None, "updated_at": None, "candidate_nodes": [node],
    }  # fmt: skip
    shown = item(service, "a1")
    assert (shown["uuid"], shown["state"], shown["node_uuid"], shown["extra"]) == (uuid, "active", node, {"k": 1})
    assert shown["updated_at"] is not None
    [of_node] = service.ask("GET", "/v1/nodes/detail").json["nodes"]
    assert (of_node["allocation_uuid"], of_node["instance_uuid"]) == (uuid, uuid)
    assert of_node["instance_info"] == {"traits": []}
    assert service.ask("GET", "/v1/nodes/n1/allocation").json == shown
    picked = service.ask("GET", "/v1/nodes/n1/allocation?fields=state,node_uuid").json
    assert picked == {"state": "active", "node_uuid": node, "links": shown["links"]}


def test_the_work_goes_to_a_conductor_that_is_alive(service: Service) -> None:
    make(service)
    [(host, name, (wanted,))] = service.conductors.calls
    assert (host, name, wanted.resource_class) == ("refhost", "create_allocation", "big")
    conductors.go_offline(service.database, "refhost")
    service.members.forget()
    result = service.ask("POST", AT, {"resource_class": "big"})
    assert (result.status_code, fault(result)["faultstring"]) == (503, "No conductor is alive.")


def test_a_conductor_that_refuses_leaves_nothing(service: Service) -> None:
    del service.conductors.works["create_allocation"]
    service.conductors.answers["create_allocation"] = errors.ConductorUnreachable(host="refhost", reason="gone")
    assert service.ask("POST", AT, {"resource_class": "big"}).status_code == 503
    assert service.ask("GET", AT).json == {"allocations": []}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "resource_class is mandatory"),
        ({"resource_class": ""}, "resource_class is mandatory"),
        ({"resource_class": None}, "resource_class is mandatory"),
        ({"resource_class": "x" * 81}, "at most 80 characters"),
        ({"resource_class": "x", "candidate_nodes": ["nope", OTHER]}, f"Nodes cannot be found: nope, {OTHER}."),
        ({"resource_class": "x", "candidate_nodes": "n1"}, "Expected a list"),
        ({"resource_class": "x", "candidate_nodes": [1]}, "Expected a text for candidate_nodes"),
        ({"resource_class": "x", "candidate_nodes": ["n"] * 1001}, "at most 1000 nodes"),
        ({"resource_class": "x", "traits": "CUSTOM_A"}, "Expected a list of traits"),
        ({"resource_class": "x", "traits": [f"CUSTOM_{n}" for n in range(51)]}, "at most 50 traits"),
        ({"resource_class": "x", "name": "a b"}, "Cannot use 'a b' as name"),
        ({"resource_class": "x", "name": OTHER}, "and no UUID"),
        ({"resource_class": "x", "uuid": "zz"}, "Expected a UUID"),
        ({"resource_class": "x", "extra": 3}, "Expected an object for extra"),
        ({"resource_class": "x", "state": "active"}, "A new allocation cannot have state"),
        ({"resource_class": "x", "last_error": "no"}, "cannot have last_error"),
        ({"node": "nope"}, "Node nope could not be found"),
        ({"node": 7}, "Expected a text for node"),
        ({"node": "\x00"}, "none of them NUL"),
    ],
)
def test_a_wrong_wish_is_refused_with_the_reason(service: Service, body: dict[str, Any], text: str) -> None:
    result = service.ask("POST", AT, body)
    assert result.status_code == 400
    assert text in fault(result)["faultstring"]
    assert service.conductors.calls == []


def test_names_and_uuids_are_taken_once(service: Service) -> None:
    uuid = make(service, name="a1").json["uuid"]
    for body, text in (({"name": "a1"}, "with name a1"), ({"uuid": uuid}, f"with uuid {uuid}")):
        result = service.ask("POST", AT, {"resource_class": "big", **body})
        assert (result.status_code, text in fault(result)["faultstring"]) == (409, True)


def test_lists_are_filtered_and_paged(service: Service) -> None:
    node = free(service, name="n1")
    first = make(service, name="a1", candidate_nodes=["n1"]).json["uuid"]
    second = make(service, resource_class="none", owner="me").json["uuid"]

    def listed(query: str, minor: int = 110) -> list[str]:
        return [one["uuid"] for one in service.ask("GET", f"{AT}?{query}", minor=minor).json["allocations"]]

    assert listed("") == [first, second]
    assert listed("node=n1") == listed(f"node={node}") == listed("state=active") == [first]
    assert listed("resource_class=none") == listed("owner=me") == listed("state=error") == [second]
    assert listed("state=allocating") == []
    assert listed("sort_key=name&sort_dir=desc") == [first, second]
    page = service.ask("GET", f"{AT}?limit=1").json
    assert "marker=" + first in page["next"]
    assert listed(page["next"].partition("?")[2]) == [second]
    fields = service.ask("GET", f"{AT}?fields=uuid,name").json["allocations"]
    assert [set(one) for one in fields] == [{"uuid", "name", "links"}] * 2
    for query, minor, status in (
        ("node=nope", 110, 400), ("detail=true", 110, 400), ("name=a1", 110, 400), ("fields=nope", 110, 400),
        ("sort_key=traits", 110, 400), ("sort_key=candidate_nodes", 110, 400), ("owner=me", 59, 406),
        ("fields=owner", 59, 406),
    ):  # fmt: skip
        assert service.ask("GET", f"{AT}?{query}", minor=minor).status_code == status, query


def test_name_and_extra_can_be_changed_and_nothing_else(service: Service) -> None:
    make(service, name="a1", extra={"k": 1})
    patch = [{"op": "add", "path": "/extra/l", "value": 2}, {"op": "replace", "path": "/name", "value": "a2"}]
    changed = service.ask("PATCH", f"{AT}/a1", patch, minor=57)
    assert (changed.status_code, changed.json["name"], changed.json["extra"]) == (200, "a2", {"k": 1, "l": 2})
    assert service.ask("PATCH", f"{AT}/a2", [{"op": "remove", "path": "/name"}]).json["name"] is None
    uuid = changed.json["uuid"]
    make(service, name="a3")
    for path, value, status in (
        ("/state", "active", 400),
        ("/name", "a b", 400),
        ("/name", "a3", 409),
        ("/extra", 1, 400),
    ):
        assert service.ask("PATCH", f"{AT}/{uuid}", [{"op": "add", "path": path, "value": value}]).status_code == status
    assert service.ask("PATCH", f"{AT}/{uuid}", []).json["extra"] == {"k": 1, "l": 2}
    assert service.ask("PATCH", f"{AT}/nobody", []).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "minor", "status"),
    [
        ("GET", AT, 51, 404), ("POST", AT, 51, 405), ("GET", f"{AT}/x", 51, 404), ("DELETE", f"{AT}/x", 51, 405),
        ("PATCH", f"{AT}/x", 56, 405), ("PUT", f"{AT}/x", 110, 405), ("DELETE", AT, 110, 405), ("PATCH", AT, 110, 405),
        ("GET", "/v1/nodes/n1/allocation", 51, 404), ("DELETE", "/v1/nodes/n1/allocation", 51, 404),
        ("POST", "/v1/nodes/n1/allocation", 110, 405), ("GET", "/v1/nodes/n1/allocation", 110, 404),
        ("DELETE", "/v1/nodes/n1/allocation", 110, 404), ("GET", f"{AT}/a b", 110, 400),
    ],
)  # fmt: skip
def test_what_is_not_there_says_so_in_its_way(
    service: Service, method: str, path: str, minor: int, status: int
) -> None:
    free(service, name="n1")
    assert service.ask(method, path, [], minor=minor).status_code == status


def test_versions_of_the_body(service: Service) -> None:
    node = free(service, provision_state="active")
    for body, minor, status in (
        ({"resource_class": "x", "owner": "me"}, 59, 406), ({"resource_class": "x", "owner": "me"}, 60, 201),
        ({"node": node}, 57, 400), ({"node": node}, 58, 201),
    ):  # fmt: skip
        assert service.ask("POST", AT, body, minor=minor).status_code == status
    assert "owner" not in service.ask("GET", AT, minor=59).json["allocations"][0]


# Measured of Ironic 39.0.0: what becomes of the allocation of a node in this state, on its way to that one.
REMOVABLE = [
    ("available", None, "", "goes"),
    ("active", None, "", "stays"),
    ("active", None, "maintenance", "goes"),
    ("deploying", "active", "", "stays"),
    ("deploying", "active", "maintenance", "goes"),
    ("wait call-back", "active", "", "stays"),
    ("deploy failed", "active", "", "goes"),
    ("cleaning", "available", "", "stays"),
    ("clean failed", "available", "", "goes"),
    ("rescuing", "rescue", "", "stays"),
    ("rescue", None, "", "goes"),
    ("error", None, "", "goes"),
    ("inspect failed", "manageable", "", "goes"),
]


@pytest.mark.parametrize(("state", "target", "mode", "outcome"), REMOVABLE)
@pytest.mark.parametrize("path", [AT + "/a1", "/v1/nodes/n1/allocation"])
def test_an_allocation_goes_unless_its_node_is_in_use(
    service: Service, path: str, state: str, target: str | None, mode: str, outcome: str
) -> None:
    node = free(service, name="n1")
    make(service, name="a1")
    put(service, node, provision_state=state, target_provision_state=target, maintenance=bool(mode))
    result = service.ask("DELETE", path)
    if outcome == "goes":
        assert result.status_code == 204
        assert item(service, "a1").keys() == {"error_message"}
        assert nodes.get(service.database, node).instance_uuid is None
    else:
        assert (result.status_code, f'in state "{state}"' in fault(result)["faultstring"]) == (409, True)
        assert item(service, "a1")["node_uuid"] == node


def test_a_locked_node_keeps_its_allocation(service: Service) -> None:
    node = free(service)
    make(service, name="a1")
    nodes.take(service.database, nodes.get(service.database, node), Hold("h9", new_uuid()), "power on", {})
    result = service.ask("DELETE", f"{AT}/a1")
    assert (result.status_code, "locked by host h9" in fault(result)["faultstring"]) == (409, True)
    assert item(service, "a1")["node_uuid"] == node


def test_an_allocation_without_a_node_goes_at_once(service: Service) -> None:
    make(service, name="a1")
    assert item(service, "a1")["state"] == "error"
    assert service.ask("DELETE", f"{AT}/a1").status_code == 204
    assert service.ask("DELETE", f"{AT}/a1").status_code == 404


def test_taking_the_instance_from_a_node_ends_its_allocation(service: Service) -> None:
    node = free(service)
    make(service, name="a1")
    path, removal = f"/v1/nodes/{node}", [{"op": "remove", "path": "/instance_uuid"}]
    other = [{"op": "replace", "path": "/instance_uuid", "value": OTHER}]
    assert service.ask("PATCH", path, other).status_code == 409
    put(service, node, provision_state="active")
    assert service.ask("PATCH", path, removal).status_code == 409
    put(service, node, maintenance=True)
    assert service.ask("PATCH", path, removal).json["allocation_uuid"] is None
    assert service.ask("GET", f"{AT}/a1").status_code == 404
    put(service, node, maintenance=False)
    assert service.ask("PATCH", path, other).status_code == 200
    assert service.ask("PATCH", path, removal).status_code == 200  # of a node without an allocation, in any state


def test_deleting_a_node_takes_its_allocation_along(service: Service) -> None:
    node = free(service)
    make(service, name="a1")
    result = service.ask("DELETE", f"/v1/nodes/{node}")
    assert (result.status_code, "associated with instance" in fault(result)["faultstring"]) == (409, True)
    put(service, node, maintenance=True)
    assert service.ask("DELETE", f"/v1/nodes/{node}").status_code == 204
    assert service.ask("GET", AT).json == {"allocations": []}


def test_a_node_in_use_gets_an_allocation_at_once(service: Service) -> None:
    node = free(service, name="n1", provision_state="active", maintenance=True)
    assert service.ask("PUT", "/v1/nodes/n1/traits/CUSTOM_A").status_code == 204
    made = service.ask("POST", AT, {"node": "n1", "name": "a1", "traits": ["CUSTOM_A"], "candidate_nodes": ["n1"]})
    assert (made.status_code, made.json["state"], made.json["node_uuid"]) == (201, "active", node)
    assert (made.json["resource_class"], made.json["traits"]) == ("big", ["CUSTOM_A"])
    assert nodes.get(service.database, node).instance_uuid == made.json["uuid"]
    again = service.ask("POST", AT, {"node": "n1"})
    assert (again.status_code, "already exists" in fault(again)["faultstring"]) == (409, True)
    assert service.conductors.calls == []


def test_a_node_in_use_keeps_its_instance(service: Service) -> None:
    node = free(service, name="n1", provision_state="active", instance_uuid=OTHER)
    refused = service.ask("POST", AT, {"node": "n1", "uuid": new_uuid()})
    assert (refused.status_code, OTHER in fault(refused)["faultstring"]) == (409, True)
    made = service.ask("POST", AT, {"node": node})
    assert (made.status_code, made.json["uuid"]) == (201, OTHER)


@pytest.mark.parametrize(
    ("given", "body", "status", "text"),
    [
        ({"provision_state": "available"}, {}, 409, 'is in state "available"'),
        ({"provision_state": "rescue"}, {}, 409, 'is in state "rescue"'),
        ({}, {"resource_class": "small"}, 400, "has resource class big, not small"),
        ({}, {"traits": ["CUSTOM_A"]}, 400, "lacks traits CUSTOM_A"),
        ({}, {"candidate_nodes": ["n2"]}, 400, "not among the candidates"),
        ({}, {"name": "taken"}, 409, "with name taken already exists"),
    ],
)
def test_what_forbids_an_allocation_of_a_node_leaves_nothing(
    service: Service, given: dict[str, Any], body: dict[str, Any], status: int, text: str
) -> None:
    node = free(service, **({"name": "n1", "provision_state": "active"} | given))
    free(service, name="n2", resource_class="other")
    make(service, name="taken", resource_class="none")
    result = service.ask("POST", AT, {"node": "n1", **body})
    assert (result.status_code, text in fault(result)["faultstring"]) == (status, True), result.json
    assert len(service.ask("GET", AT).json["allocations"]) == 1
    assert nodes.get(service.database, node).instance_uuid is None


def test_a_locked_node_in_use_gets_none(service: Service) -> None:
    node = free(service, provision_state="active")
    nodes.take(service.database, nodes.get(service.database, node), Hold("h9", new_uuid()), "power on", {})
    assert service.ask("POST", AT, {"node": node}).status_code == 409
    assert service.ask("GET", AT).json == {"allocations": []}


def test_an_allocation_that_others_finish_meanwhile_is_read_again(service: Service, monkeypatch: Any) -> None:
    """Its node comes between reading and deleting: then the node is freed too."""
    node = free(service)
    service.conductors.works["create_allocation"] = lambda wanted: allocations.insert(
        service.database, wanted, "refhost"
    )
    make(service, name="a1")
    real = allocations.delete

    def late(*args: Any) -> None:
        uuid = item(service, "a1")["uuid"]
        wanted = allocations.waiting(service.database, uuid)
        if wanted is not None:
            [found] = allocations.candidates(service.database, wanted, 1)
            allocations.take(service.database, wanted, found)
        real(*args)

    monkeypatch.setattr(allocations, "delete", late)
    assert service.ask("DELETE", f"{AT}/a1").status_code == 204
    assert service.ask("GET", AT).json == {"allocations": []}
    assert nodes.get(service.database, node).instance_uuid is None
