"""What requests cost: statements and Python calls, end to end, both processes."""

from __future__ import annotations

import pytest

from ironic_lite.db import nodes
from tests.budget.conftest import Stack
from tests.waiting import until

MAX_POWER_STATEMENTS = 5
MAX_POWER_CALLS = 1750
# BEGIN is SQLite's own way of taking the write lock; COMMIT never shows here.
UNCOUNTED = ("BEGIN", "PRAGMA")


def power(stack: Stack, target: str, state: str) -> None:
    status, _ = stack.request("PUT", "/v1/nodes/n1/states/power", {"target": target})
    assert status == 202
    until(lambda: nodes.get(stack.database, "n1").power_state == state)
    until(lambda: nodes.get(stack.database, "n1").reservation is None)


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
    statements = [one for one in warm.statements if not one.startswith(UNCOUNTED)]
    assert [one.split()[0] for one in statements] == ["SELECT", "SELECT", "UPDATE", "INSERT", "UPDATE"]
    assert len(statements) <= MAX_POWER_STATEMENTS


def test_power_on_costs_few_python_calls(warm: Stack):
    """Both HTTP hops, both servers and the worker included; the driver is fake-hardware, so there is no BMC library."""
    with warm.counted():
        power(warm, "power on", "power on")
    assert sum(warm.calls.values()) <= MAX_POWER_CALLS, warm.by_package().most_common(12)


def test_a_list_is_one_statement_for_any_number_of_nodes(stack: Stack):
    for number in range(30):
        assert stack.request("POST", "/v1/nodes", {"driver": "fake-hardware", "name": f"n{number}"})[0] == 201
    stack.watch_statements()
    for path in ("/v1/nodes", "/v1/nodes/detail", "/v1/nodes?limit=2", "/v1/nodes?fields=name,driver_info,conductor"):
        stack.request("GET", path)
        with stack.counted():
            status, body = stack.request("GET", path)
        assert status == 200
        assert body["nodes"]
        assert len([one for one in stack.statements if not one.startswith(UNCOUNTED)]) == 1, path
