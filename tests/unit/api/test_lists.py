from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import hypothesis
import hypothesis.strategies as st
import pytest

from ironic_lite import config
from ironic_lite.db import nodes
from tests.builders import a_row
from tests.parts.api import Service, fault


def fill(service: Service, rows: list[dict[str, Any]]) -> list[str]:
    """Nodes with these values; their UUIDs in the order of their making."""
    made = [a_row(**row) for row in rows]
    for row in made:
        nodes.insert(service.database, row)
    return [row["uuid"] for row in made]


def walked(service: Service, path: str) -> list[list[str]]:
    """The UUIDs of each page from here on, following `next`."""
    pages: list[list[str]] = []
    while path:
        assert len(pages) < 50, "The pages never end."
        answer = service.ask("GET", path).json
        pages.append([one["uuid"] for one in answer["nodes"]])
        parts = urlsplit(answer.get("next", ""))
        path = f"{parts.path}?{parts.query}" if "next" in answer else ""
    return pages


def test_a_list_is_one_select_for_any_number_of_nodes(service: Service) -> None:
    service.members.current()
    fill(service, [{} for _ in range(3)])
    few = service.statements()
    service.ask("GET", "/v1/nodes")
    service.ask("GET", "/v1/nodes/detail")
    assert [one.split()[0] for one in few] == ["SELECT", "SELECT"]
    fill(service, [{} for _ in range(50)])
    few.clear()
    assert len(service.ask("GET", "/v1/nodes/detail").json["nodes"]) == 53
    assert len(few) == 1
    assert "nodes.driver_info" in few[0]


def test_the_select_is_the_projection(service: Service) -> None:
    fill(service, [{}])
    seen = service.statements()
    service.ask("GET", "/v1/nodes")
    service.ask("GET", "/v1/nodes?fields=name,owner")
    assert "driver_info" not in seen[0]
    assert "nodes.owner" in seen[1]
    assert "power_state" not in seen[1]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_pages_together_are_the_list(service: Service, size: int) -> None:
    uuids = fill(service, [{} for _ in range(6)])
    pages = walked(service, f"/v1/nodes?limit={size}")
    assert [one for page in pages for one in page] == uuids
    assert all(len(page) == size for page in pages[:-1])
    # `next` is there exactly when a page is full: a full last page leads to an empty one.
    assert len(pages[-1]) == len(uuids) % size


OWNERS = st.lists(st.sampled_from([None, "a", "b", "B", "é"]), max_size=7)


@hypothesis.given(
    owners=OWNERS,
    size=st.integers(1, 4),
    key=st.sampled_from(["owner", "maintenance", "id"]),
    direction=st.sampled_from(["asc", "desc"]),
)
@hypothesis.settings(
    max_examples=60, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_order_is_walked_without_loss_or_repetition(
    service: Service, owners: list[str | None], size: int, key: str, direction: str
) -> None:
    for uuid in [one for page in walked(service, "/v1/nodes") for one in page]:
        assert service.ask("DELETE", f"/v1/nodes/{uuid}").status_code == 204
    uuids = fill(service, [{"owner": owner, "maintenance": number % 2 == 0} for number, owner in enumerate(owners)])
    path = f"/v1/nodes?sort_key={key}&sort_dir={direction}"
    whole = [one for page in walked(service, path) for one in page]
    paged = [one for page in walked(service, f"{path}&limit={size}") for one in page]
    assert paged == whole
    assert sorted(whole) == sorted(uuids)
    if key == "owner":  # what has no value comes first when ascending, last when descending
        absent = {uuid for uuid, owner in zip(uuids, owners, strict=True) if owner is None}
        ends = whole[::-1] if direction == "desc" else whole
        assert set(ends[: len(absent)]) == absent


def test_the_next_page_repeats_what_was_asked(service: Service) -> None:
    fill(service, [{"owner": "a b", "maintenance": False} for _ in range(2)])
    base = "http://127.0.0.1:46385/v1/nodes"
    marker = service.ask("GET", "/v1/nodes?limit=1").json["nodes"][0]["uuid"]
    for query, following in (
        (
            "limit=1",
            "sort_key=id&sort_dir=asc&fields=uuid,instance_uuid,maintenance,name,power_state,provision_state&limit=1",
        ),
        ("limit=1&detail=true", "sort_key=id&sort_dir=asc&detail=True&limit=1"),
        ("limit=1&owner=a%20b&fields=UUID", "sort_key=id&sort_dir=asc&owner=a%20b&fields=uuid&limit=1"),
        ("limit=1&maintenance=0&sort_key=uuid&sort_dir=asc&fields=uuid", None),
    ):
        answer = service.ask("GET", f"/v1/nodes?{query}").json
        if following:
            assert answer["next"] == f"{base}?{following}&marker={marker}"
        else:
            assert "maintenance=0" in answer["next"]
    detail = service.ask("GET", "/v1/nodes/detail?limit=1").json
    assert detail["next"] == f"{base}/detail?sort_key=id&sort_dir=asc&limit=1&marker={marker}"


def test_a_page_is_never_longer_than_the_option_allows(service: Service) -> None:
    config.CONF.set_override("max_limit", 2, "api")
    fill(service, [{} for _ in range(3)])
    assert [len(page) for page in walked(service, "/v1/nodes")] == [2, 1]
    assert [len(page) for page in walked(service, "/v1/nodes?limit=999999999999")] == [2, 1]


def test_an_unknown_marker_is_404(service: Service) -> None:
    result = service.ask("GET", "/v1/nodes?marker=11111111-1111-1111-1111-111111111111")
    assert result.status_code == 404
    assert "11111111-1111-1111-1111-111111111111" in fault(result)["faultstring"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"a", "b", "c"}),
        ("maintenance=true", {"a"}),
        ("maintenance=no", {"b", "c"}),
        ("instance_uuid=11111111-1111-1111-1111-111111111111", {"b"}),
        ("associated=true", {"b"}),
        ("associated=false", {"a", "c"}),
        ("provision_state=manageable", {"b"}),
        ("driver=redfish", {"c"}),
        ("resource_class=big", {"a"}),
        ("fault=power%20failure", {"a"}),
        ("conductor_group=MARS", {"c"}),
        ("owner=me", {"a", "b"}),
        ("owner=me&maintenance=false", {"b"}),
        ("lessee=you", {"c"}),
        ("description_contains=50%25", {"a"}),
        ("description_contains=_", {"b"}),
        ("retired=yes", {"c"}),
        ("shard=one,two", {"a", "b"}),
        ("shard=one&shard=two", {"a", "b"}),
        ("sharded=false", {"c"}),
        ("instance_name=web", {"b"}),
    ],
)
def test_a_filter_leaves_what_fits(service: Service, query: str, expected: set[str]) -> None:
    fill(
        service,
        [
            {"name": "a", "maintenance": True, "resource_class": "big", "fault": "power failure", "owner": "me",
             "description": "at 50% load", "shard": "one"},
            {"name": "b", "instance_uuid": "11111111-1111-1111-1111-111111111111", "provision_state": "manageable",
             "owner": "me", "description": "a_b", "shard": "two", "instance_name": "web"},
            {"name": "c", "driver": "redfish", "conductor_group": "mars", "lessee": "you", "retired": True},
        ],
    )  # fmt: skip
    assert {one["name"] for one in service.ask("GET", f"/v1/nodes?{query}").json["nodes"]} == expected


def test_fields_are_shown_whatever_their_case_and_how_often(service: Service) -> None:
    (uuid,) = fill(service, [{"name": "n"}])
    for query in ("fields=UUID,name", "fields=uuid&fields=name", "fields=name,uuid,name"):
        assert service.ask("GET", f"/v1/nodes/{uuid}?{query}").json.keys() == {"uuid", "name", "links"}
    assert service.ask("GET", f"/v1/nodes/{uuid}?fields=traits").json.keys() == {"traits", "links"}
    assert service.ask("GET", f"/v1/nodes/{uuid}?fields=uuid", minor=7).status_code == 406
    assert service.ask("GET", f"/v1/nodes/{uuid}?fields=created_at").status_code == 400
