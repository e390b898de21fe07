"""What a node's life costs in statements, end to end, both processes."""

from __future__ import annotations

import pytest

from ironic_lite.db import nodes
from tests.budget.conftest import Stack
from tests.waiting import until

UNCOUNTED = ("BEGIN", "PRAGMA")
# Each verb, where it leads, and how many statements that takes: one of the API, and of the conductor one that
# reads the row, one that counts where the cluster has a limit, two for each change of state (itself and its entry in
# the history), one for a plan that is written down on the way, two that read what is kept of settings and firmware, and
# one for the allocation that ends with the instance.
LIFE = (
    ("manage", "manageable", 8),
    ("provide", "available", 7),
    ("active", "active", 8),
    ("deleted", "available", 10),
)


@pytest.fixture
def warm(stack: Stack) -> Stack:
    """What is compiled and connected once has been."""
    assert stack.request("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n1"})[0] == 201
    for verb, state, _ in LIFE:
        give(stack, verb, state)
    row = nodes.get(stack.database, "n1")
    nodes.change(stack.database, row.uuid, row.revision, {"provision_state": "enroll"})
    return stack


def give(stack: Stack, verb: str, state: str) -> None:
    status, answer = stack.request("PUT", "/v1/nodes/n1/states/provision", {"target": verb})
    assert status == 202, answer
    until(lambda: nodes.get(stack.database, "n1").provision_state == state)
    until(lambda: nodes.get(stack.database, "n1").reservation is None)


def test_each_verb_costs_few_statements(warm: Stack):
    warm.watch_statements()
    for verb, state, most in LIFE:
        with warm.counted():
            give(warm, verb, state)
        statements = [one.split()[0] for one in warm.statements if not one.startswith(UNCOUNTED)]
        assert len(statements) == most, (verb, statements)
