"""Lists and ports through the API: their statements mean the same on every database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from ironic_lite import config
from ironic_lite.db import nodes
from ironic_lite.db.engine import Database
from tests.builders import a_row
from tests.parts.api import Service


@pytest.fixture
def service(database: Database) -> Iterator[Service]:
    config.load([], program="test", files=[])
    made = Service(database)
    yield made
    made.conductors.close()


def walked(service: Service, path: str) -> list[str]:
    """The names on each page from here on, following `next`."""
    found: list[str] = []
    while path:
        answer = service.ask("GET", path).json
        found += [one["name"] for one in answer["nodes"]]
        parts = urlsplit(answer.get("next", ""))
        path = f"{parts.path}?{parts.query}" if parts.path else ""
    return found


@pytest.mark.parametrize("key", ["owner", "maintenance", "automated_clean", "created_at", "updated_at", "name", "id"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_any_order_is_walked_without_loss_or_repetition(service: Service, key: str, direction: str) -> None:
    owners = [None, "b", "a", None, "B", "é", "a"]
    for number, owner in enumerate(owners):
        values = {"owner": owner, "maintenance": number % 2 == 0, "automated_clean": [None, True, False][number % 3]}
        nodes.insert(service.database, a_row(name=f"n{number}", **values))
    path = f"/v1/nodes?sort_key={key}&sort_dir={direction}"
    whole = walked(service, path)
    assert sorted(whole) == [f"n{number}" for number in range(7)]
    for size in (1, 2, 3):
        assert walked(service, f"{path}&limit={size}") == whole
    if key == "owner":
        assert {"n0", "n3"} == set(whole[:2] if direction == "asc" else whole[-2:])


def test_filters_and_views_select(service: Service) -> None:
    values: dict[str, Any] = {"owner": "me", "description": "at 50% load", "shard": "s", "properties": {"a": [1, None]}}
    nodes.insert(service.database, a_row(name="n1", **values))
    nodes.insert(service.database, a_row(name="n2"))
    for query in ("owner=me", "description_contains=50%25", "shard=s,t", "sharded=true", "maintenance=false&owner=me"):
        assert walked(service, f"/v1/nodes?{query}") == ["n1"], query
    detail = service.ask("GET", "/v1/nodes/detail?owner=me").json["nodes"][0]
    assert (detail["properties"], detail["maintenance"]) == ({"a": [1, None]}, False)
    assert detail == service.ask("GET", "/v1/nodes/n1").json


def test_ports_live(service: Service) -> None:
    nodes.insert(service.database, a_row(name="n1"))
    link = {"switch_id": "0a:1b:2c:3d:4e:5f", "port_id": "e1"}
    body = {
        "node_ident": "n1",
        "address": "52:54:00:aa:bb:01",
        "name": "p1",
        "local_link_connection": link,
        "extra": {},
    }
    port = service.ask("POST", "/v1/ports", body).json
    assert (port["local_link_connection"], port["pxe_enabled"], port["category"]) == (link, True, None)
    assert service.ask("POST", "/v1/ports", body).status_code == 409
    patch = [{"op": "add", "path": "/extra/a", "value": 1}, {"op": "replace", "path": "/pxe_enabled", "value": False}]
    changed = service.ask("PATCH", "/v1/ports/p1", patch).json
    assert (changed["extra"], changed["pxe_enabled"]) == ({"a": 1}, False)
    assert service.ask("GET", "/v1/ports?node=n1&sort_key=address").json["ports"][0]["uuid"] == port["uuid"]
    assert service.ask("GET", "/v1/nodes/n1/ports/detail").json["ports"] == [changed]
    assert service.ask("DELETE", "/v1/ports/p1").status_code == 204
    assert service.ask("DELETE", "/v1/nodes/n1").status_code == 204


def test_what_is_unique_is_named(service: Service) -> None:
    uuid = "11111111-1111-1111-1111-111111111111"
    node = {"driver": "fake-hardware", "uuid": uuid, "name": "n1", "instance_uuid": uuid}
    assert service.ask("POST", "/v1/nodes", node).status_code == 201
    for field in ("uuid", "name", "instance_uuid"):
        result = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware", field: node[field]})
        assert result.status_code == 409
        assert field in result.text
