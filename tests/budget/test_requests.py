"""What requests cost: statements and Python calls, end to end, both processes."""

from __future__ import annotations

import pytest

from ironic_lite.db import nodes
from tests.budget.conftest import Stack
from tests.waiting import until

MAX_POWER_STATEMENTS = 5
MAX_POWER_CALLS = 1400
# BEGIN is SQLite's own way of taking the write lock; COMMIT never shows here.
UNCOUNTED = ("BEGIN", "PRAGMA")


def power(stack: Stack, target: str, state: str) -> None:
    status, _ = stack.request("PUT", "/v1/nodes/n1/states/power", {"target": target})
    assert status == 202
    until(lambda: nodes.get(stack.database, "n1").power_state == state)
    until(lambda: nodes.get(stack.database, "n1").reservation is None)


def kinds_of(statements: list[str]) -> list[str]:
    return [one.split()[0] for one in statements if not one.startswith(UNCOUNTED)]


@pytest.fixture
def warm(stack: Stack) -> Stack:
    """What is compiled and connected once has been."""
    assert stack.request("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n1"})[0] == 201
    power(stack, "power on", "power on")
    power(stack, "power off", "power off")
    return stack


def test_power_on_costs_five_statements(warm: Stack):
    warm.watch_statements()
    with warm.counted():
        power(warm, "power on", "power on")
    statements = kinds_of(warm.statements)
    assert statements == ["SELECT", "SELECT", "UPDATE", "INSERT", "UPDATE"]
    assert len(statements) <= MAX_POWER_STATEMENTS


def test_an_allocation_costs_six_statements(stack: Stack) -> None:
    """One adds it and one shows it, one reads it and one finds the node, and two give it the node."""
    assert (
        stack.request("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n1", "resource_class": "x"})[0] == 201
    )
    ready = {"provision_state": "available", "power_state": "power off"}
    node = nodes.get(stack.database, "n1")
    nodes.change(stack.database, node.uuid, node.revision, ready)
    stack.watch_statements()
    with stack.counted():
        assert stack.request("POST", "/v1/allocations", {"resource_class": "x", "name": "a1"})[0] == 201
        until(lambda: nodes.get(stack.database, "n1").instance_uuid is not None)
    assert sorted(kinds_of(stack.statements)) == ["INSERT", "SELECT", "SELECT", "SELECT", "UPDATE", "UPDATE"]
    with stack.counted():
        assert stack.request("DELETE", "/v1/allocations/a1")[0] == 204
    assert kinds_of(stack.statements) == ["SELECT", "DELETE", "UPDATE"]


def test_a_trait_costs_three_statements(stack: Stack) -> None:
    assert stack.request("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n1"})[0] == 201
    stack.watch_statements()
    with stack.counted():
        assert stack.request("PUT", "/v1/nodes/n1/traits/CUSTOM_A")[0] == 204
    assert kinds_of(stack.statements) == ["SELECT", "UPDATE", "INSERT"]


def test_power_on_costs_few_python_calls(warm: Stack):
    """Both HTTP hops, both servers and the worker included; the driver is fake-hardware, so there is no BMC library."""
    with warm.counted():
        power(warm, "power on", "power on")
    assert sum(warm.calls.values()) <= MAX_POWER_CALLS, warm.by_package().most_common(12)


def test_a_list_is_one_statement_for_any_number_of_nodes(stack: Stack):
    for number in range(30):
        assert stack.request("POST", "/v1/nodes", {"driver": "fake-hardware", "name": f"n{number}"})[0] == 201
        assert stack.request("PUT", f"/v1/nodes/n{number}/traits", {"traits": ["CUSTOM_A", "CUSTOM_B"]})[0] == 204
        assert stack.request("POST", "/v1/allocations", {"resource_class": "none"})[0] == 201
    until(lambda: not stack.request("GET", "/v1/allocations?state=allocating")[1]["allocations"])
    stack.watch_statements()
    for path in (
        "/v1/nodes", "/v1/nodes/detail", "/v1/nodes?limit=2", "/v1/nodes?fields=name,driver_info,conductor",
        "/v1/nodes?fields=traits,allocation_uuid", "/v1/allocations", "/v1/allocations?state=error&limit=7",
    ):  # fmt: skip
        stack.request("GET", path)
        with stack.counted():
            status, body = stack.request("GET", path)
        assert status == 200
        assert any(body.values())
        assert len(kinds_of(stack.statements)) == 1, path
