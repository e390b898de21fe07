"""Allocations in the real service: raced over HTTP, and outliving their conductor."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from ironic_lite.clock import new_uuid
from ironic_lite.db import nodes
from ironic_lite.db.engine import Database
from ironic_lite.db.nodes import Hold
from ironic_lite.domain.node import Node
from tests.builders import a_node
from tests.parts.service import Service, service
from tests.waiting import until

CLIENTS, NODES = 12, 4


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service")) as started:
        yield started
    assert "Traceback" not in started.log()


@pytest.fixture(scope="module")
def database(running: Service) -> Iterator[Database]:
    """The service's own, beside it."""
    opened = Database(sa.URL.create("sqlite", database=str(running.directory / "ironic.sqlite")))
    yield opened
    opened.dispose()


def available(database: Database, name: str, resource_class: str) -> Node:
    """A node that suits who wants that class."""
    return a_node(
        database, name=name, resource_class=resource_class, provision_state="available", power_state="power off"
    )


def ask(running: Service, resource_class: str) -> str:
    """A new allocation's UUID."""
    status, _, made = running.request("POST", "/v1/allocations", {"resource_class": resource_class})
    assert (status, made["state"], made["node_uuid"]) == (201, "allocating", None)
    return str(made["uuid"])


def ended(running: Service, uuid: str) -> Any:
    until(lambda: running.get(f"/v1/allocations/{uuid}")["state"] != "allocating", 60)
    return running.get(f"/v1/allocations/{uuid}")


def test_of_many_clients_each_node_goes_to_one(running: Service, database: Database) -> None:
    given = {available(database, f"raced-{number}", "raced").uuid for number in range(NODES)}
    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = list(clients.map(lambda _: ask(running, "raced"), range(CLIENTS)))
    found = [ended(running, uuid) for uuid in asked]
    assert Counter(one["state"] for one in found) == {"active": NODES, "error": CLIENTS - NODES}
    assert sorted(one["node_uuid"] for one in found if one["node_uuid"]) == sorted(given)
    for one in found:
        assert ("are in use already" in (one["last_error"] or "")) == (one["state"] == "error")


def test_an_allocation_outlives_its_conductor(running: Service, database: Database) -> None:
    node, hold = available(database, "kept", "kept"), Hold("elsewhere", new_uuid())
    nodes.take(database, node, hold, "other work", {})  # of a conductor that is not there: only this test lets go
    waiting = ask(running, "kept")
    os.kill(running.pids()["conductor"], signal.SIGKILL)
    until(lambda: f"Allocation {waiting} was left waiting and is taken up." in running.log(), 60)
    assert running.get(f"/v1/allocations/{waiting}")["state"] == "allocating"
    nodes.release(database, node.uuid, hold, "other work", {}, None)
    found = ended(running, waiting)
    assert (found["state"], found["node_uuid"]) == ("active", node.uuid)
    assert running.get("/v1/nodes/kept")["instance_uuid"] == waiting
