"""Traits of nodes: what they may be called, who may change them when, and that lists stay one statement."""

from __future__ import annotations

import pytest

from ironic_lite.clock import new_uuid
from ironic_lite.db import nodes, tables
from ironic_lite.db.nodes import Hold
from tests.parts.api import Service, fault


@pytest.fixture
def node(service: Service) -> str:
    made = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n1"})
    return str(made.json["uuid"])


def revision(service: Service, node: str) -> int:
    return nodes.get(service.database, node).revision


def test_traits_are_replaced_added_and_removed(service: Service, node: str) -> None:
    path = f"/v1/nodes/{node}/traits"
    assert service.ask("GET", path).json == {"traits": []}
    assert service.ask("PUT", path, {"traits": ["HW_CPU_X86_VMX", "CUSTOM_A", "CUSTOM_A"]}).status_code == 204
    added = service.ask("PUT", "/v1/nodes/n1/traits/CUSTOM_B")
    assert (added.status_code, added.headers["location"]) == (
        204, "http://127.0.0.1:46385/v1/nodes/n1/traits/CUSTOM_B"
    )  # fmt: skip
    assert service.ask("GET", path).json == {"traits": ["CUSTOM_A", "CUSTOM_B", "HW_CPU_X86_VMX"]}
    assert service.ask("DELETE", f"{path}/CUSTOM_A").status_code == 204
    assert service.ask("GET", f"/v1/nodes/{node}").json["traits"] == ["CUSTOM_B", "HW_CPU_X86_VMX"]
    assert service.ask("DELETE", path).status_code == 204
    assert service.ask("GET", f"/v1/nodes/{node}?fields=traits").json["traits"] == []
    missing = service.ask("DELETE", f"{path}/CUSTOM_A")
    assert (missing.status_code, fault(missing)["faultstring"]) == (
        404, f"Node {node} does not have a trait 'CUSTOM_A'."
    )  # fmt: skip


def test_each_change_counts_and_what_changes_nothing_does_not(service: Service, node: str) -> None:
    before = revision(service, node)
    for method, path, body, count in (
        ("PUT", "/CUSTOM_A", None, 1),
        ("PUT", "/CUSTOM_A", {}, 1),
        ("PUT", "", {"traits": ["CUSTOM_A"]}, 1),
        ("PUT", "", {"traits": ["CUSTOM_B", "CUSTOM_C"]}, 2),
        ("DELETE", "/CUSTOM_B", None, 3),
        ("DELETE", "", None, 4),
        ("DELETE", "", None, 4),
    ):
        assert service.ask(method, f"/v1/nodes/n1/traits{path}", body).status_code == 204
        assert revision(service, node) == before + count, (method, path)


@pytest.mark.parametrize(
    "name",
    [
        "bad",
        "CUSTOM_",
        "CUSTOM_a",
        "custom_A",
        "CUSTOM_A-B",
        "HW_NOPE",
        "CUSTOM_Ä",
        f"CUSTOM_{'A' * 249}",
        "CUSTOM_A\n",
    ],
)
def test_what_is_no_trait_is_refused(service: Service, node: str, name: str) -> None:
    for result in (
        service.ask("PUT", f"/v1/nodes/{node}/traits", {"traits": ["CUSTOM_OK", name]}),
        service.ask("POST", "/v1/allocations", {"resource_class": "x", "traits": [name]}),
    ):
        assert result.status_code == 400
        assert "is no trait" in fault(result)["faultstring"]
    assert service.ask("GET", f"/v1/nodes/{node}/traits").json == {"traits": []}


def test_the_longest_trait_is_allowed(service: Service, node: str) -> None:
    longest = f"CUSTOM_{'A' * 248}"
    assert service.ask("PUT", f"/v1/nodes/{node}/traits/{longest}").status_code == 204
    assert service.ask("GET", f"/v1/nodes/{node}/traits").json == {"traits": [longest]}


@pytest.mark.parametrize(
    "body", [None, {}, {"traits": "CUSTOM_A"}, {"traits": None}, {"traits": ["CUSTOM_A"], "x": 1}, [], {"traits": [1]}]
)
def test_a_body_that_is_no_list_of_traits_is_refused(service: Service, node: str, body: object) -> None:
    assert service.ask("PUT", f"/v1/nodes/{node}/traits", body).status_code == 400
    assert service.ask("PUT", f"/v1/nodes/{node}/traits/CUSTOM_A", {"traits": []}).status_code == 400


def test_a_node_has_fifty_traits_at_most(service: Service, node: str) -> None:
    fifty = [f"CUSTOM_{number}" for number in range(50)]
    assert service.ask("PUT", f"/v1/nodes/{node}/traits", {"traits": [*fifty, "CUSTOM_X"]}).status_code == 400
    assert service.ask("PUT", f"/v1/nodes/{node}/traits", {"traits": fifty}).status_code == 204
    assert service.ask("PUT", f"/v1/nodes/{node}/traits/CUSTOM_7").status_code == 204
    assert service.ask("PUT", f"/v1/nodes/{node}/traits/CUSTOM_X").status_code == 400
    assert service.ask("GET", f"/v1/nodes/{node}/traits").json == {"traits": sorted(fifty)}


def test_traits_of_a_locked_node_stay(service: Service, node: str) -> None:
    assert service.ask("PUT", f"/v1/nodes/{node}/traits/CUSTOM_A").status_code == 204
    nodes.take(service.database, nodes.get(service.database, node), Hold("h9", new_uuid()), "power on", {})
    for method, path, body in (
        ("PUT", "/CUSTOM_B", None), ("PUT", "/CUSTOM_A", None), ("PUT", "", {"traits": []}), ("DELETE", "", None),
    ):  # fmt: skip
        result = service.ask(method, f"/v1/nodes/{node}/traits{path}", body)
        assert result.status_code == 409
        assert "is locked by host h9 (power on)" in fault(result)["faultstring"]
    assert service.ask("GET", f"/v1/nodes/{node}/traits").json == {"traits": ["CUSTOM_A"]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "", 406), ("PUT", "", 405), ("DELETE", "", 404), ("PUT", "/CUSTOM_A", 405), ("DELETE", "/CUSTOM_A", 404)],
)
def test_before_their_version_each_method_says_so_in_its_way(
    service: Service, node: str, method: str, path: str, status: int
) -> None:
    assert service.ask(method, f"/v1/nodes/{node}/traits{path}", minor=36).status_code == status


def test_traits_are_set_by_their_own_path_alone(service: Service, node: str) -> None:
    body = {"driver": "fake-hardware", "traits": ["CUSTOM_A"]}
    assert service.ask("POST", "/v1/nodes", body).status_code == 400
    patch = [{"op": "add", "path": "/traits", "value": ["CUSTOM_A"]}]
    assert service.ask("PATCH", f"/v1/nodes/{node}", patch).status_code == 400
    assert service.ask("GET", "/v1/nodes?sort_key=traits").status_code == 400
    for method, path in (("POST", ""), ("PATCH", ""), ("GET", "/CUSTOM_A")):
        assert service.ask(method, f"/v1/nodes/{node}/traits{path}").status_code == 405
    assert service.ask("GET", "/v1/nodes/nobody/traits").status_code == 404


def test_traits_go_with_their_node(service: Service, node: str) -> None:
    assert service.ask("PUT", f"/v1/nodes/{node}/traits/CUSTOM_A").status_code == 204
    assert service.ask("DELETE", f"/v1/nodes/{node}").status_code == 204
    with service.database.read() as connection:
        assert connection.execute(tables.node_traits.select()).all() == []
