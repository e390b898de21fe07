from __future__ import annotations

import contextlib

import hypothesis
import hypothesis.strategies as st
import pytest

from ironic_lite import errors
from ironic_lite.api import app, versions
from ironic_lite.api.collection import Filter
from ironic_lite.api.resource import Resource, Write
from ironic_lite.api.v1 import (
    allocation,
    conductors,
    drivers,
    node,
    node_parts,
    node_rules,
    node_states,
    port,
    provisioning,
    root,
)  # fmt: skip
from ironic_lite.domain.provision import ABORT_SINCE, VERBS
from tests.parts.api import Service

RESOURCES: list[type[Resource]] = [
    node.Node, node.NodeStates, port.Port, conductors.Conductor, node_parts.Entry, allocation.Allocation
]  # fmt: skip
FILTERS = (node.FILTERS, port.FILTERS, allocation.FILTERS)


def declared(service: Service) -> dict[str, int]:
    """Every first version that something names."""
    found = {f"{one.noun}.{name}": field.since for one in RESOURCES for name, field in one.fields.items()}
    found |= {f"filter {name}": one.argument.since for filters in FILTERS for name, one in filters.items()}
    found |= {f"verb {verb}": since for verb, (_, since) in VERBS.items()}
    found |= {f"power {target}": since for target, (_, since) in node_states.POWER_TARGETS.items()}
    found |= {
        f"key {name} of {event}": since
        for name, events in provisioning.EXTRAS.items()
        for event, since in events.items()
    }
    found |= {f"driver.{name}": since for name, since in drivers.FIELDS.items()}
    found |= {f"driver argument {name}": one.since for name, one in drivers.ARGUMENTS.items()}
    found |= {f"begins in {state}": since for since, state in node_rules.BEGINS_IN.items()}
    found |= {f"abort in {state}": since for state, since in ABORT_SINCE.items()}
    found |= {f"link {name}": since for name, since in root.COLLECTIONS.items()}
    for path, one in app.routes(service.app_parts).items():
        since = getattr(one, "since", 1)
        found |= (
            {f"{method} {path}": first for method, first in since.items()} if isinstance(since, dict) else {path: since}
        )
    return found


def test_every_first_version_has_its_line_of_history(service: Service) -> None:
    assert {name: since for name, since in declared(service).items() if since not in versions.HISTORY} == {}


def test_history_has_a_sentence_for_each_version() -> None:
    assert list(versions.HISTORY) == list(range(1, 111))
    assert all(text[0].isupper() or text.startswith("deploy") for text in versions.HISTORY.values())
    assert all(text.endswith(".") for text in versions.HISTORY.values())


@pytest.mark.parametrize(
    ("ironic", "openstack", "chosen"),
    [
        (None, None, 1),
        ("1.50", None, 50),
        ("latest", None, 110),
        ("1.50", "baremetal 1.81", 81),
        ("1.50", "compute 2.90, baremetal 1.82", 82),
        ("1.50", "compute 2.90", 50),
        (None, "baremetal latest", 110),
    ],
)
def test_a_version_is_chosen(service: Service, ironic: str | None, openstack: str | None, chosen: int) -> None:
    headers = {"X-OpenStack-Ironic-API-Version": ironic, "OpenStack-API-Version": openstack}
    result = service.ask("GET", "/v1/nodes", minor=None, headers={k: v for k, v in headers.items() if v})
    assert result.status_code == 200
    assert result.headers["X-OpenStack-Ironic-API-Version"] == f"1.{chosen}"
    assert result.headers["X-OpenStack-Ironic-API-Minimum-Version"] == "1.1"
    assert result.headers["X-OpenStack-Ironic-API-Maximum-Version"] == "1.110"


@pytest.mark.parametrize("wanted", ["1.0", "1.111", "2.5", "abc", "1", "1.", ".5", "1.99999999", "1.-5", "1.٣", ""])
@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nodes", "/nothing"])
def test_what_is_no_version_of_ours_is_refused_with_the_versions_that_are(
    service: Service, wanted: str, path: str
) -> None:
    result = service.ask("GET", path, minor=None, headers={"OpenStack-API-Version": f"baremetal {wanted}"})
    assert result.status_code == 406
    assert result.headers["X-OpenStack-Ironic-API-Minimum-Version"] == "1.1"
    assert result.headers["X-OpenStack-Ironic-API-Maximum-Version"] == "1.110"
    assert "X-OpenStack-Ironic-API-Version" not in result.headers


@hypothesis.given(st.text(), st.text())
def test_negotiation_gives_a_version_or_refuses(ironic: str, openstack: str) -> None:
    with contextlib.suppress(errors.NotAcceptable):
        assert versions.MIN <= versions.negotiate(ironic, openstack) <= versions.MAX


@hypothesis.given(st.sampled_from(RESOURCES), st.integers(1, 109))
def test_what_a_version_shows_the_next_one_shows_too(resource: type[Resource], minor: int) -> None:
    shapes = ("summary", "detail") if "links" in resource.fields else ("detail",)
    for shape in shapes:
        older, newer = getattr(resource, shape)(minor), getattr(resource, shape)(minor + 1)
        assert shown(older) <= shown(newer)


def shown(view: object) -> set[str]:
    return {*view.names, *(name for name, *_ in view.derived)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name, one in node.Node.fields.items() if one.since > 1])
def test_a_field_of_a_node_is_hidden_before_its_version_and_shown_from_it(service: Service, name: str) -> None:
    since = node.Node.fields[name].since
    uuid = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}).json["uuid"]
    assert name not in service.ask("GET", f"/v1/nodes/{uuid}", minor=since - 1).json
    assert name in service.ask("GET", f"/v1/nodes/{uuid}", minor=since).json
    assert name not in service.ask("GET", "/v1/nodes/detail", minor=since - 1).json["nodes"][0]
    assert name in service.ask("GET", "/v1/nodes/detail", minor=since).json["nodes"][0]
    if node.Node.fields[name].selectable and since > 8:
        assert service.ask("GET", f"/v1/nodes/{uuid}?fields={name}", minor=since - 1).status_code == 406
        assert name in service.ask("GET", f"/v1/nodes/{uuid}?fields={name}", minor=since).json


WRITABLE = {name: one for name, one in node.Node.fields.items() if one.write and one.since > 1}


@pytest.mark.parametrize("name", WRITABLE)
def test_a_field_of_a_node_can_be_written_from_its_version_on(service: Service, name: str) -> None:
    since = WRITABLE[name].since
    created = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}).json["uuid"]
    if Write.CREATE in WRITABLE[name].write:
        body = {"driver": "fake-hardware", name: None}
        assert service.ask("POST", "/v1/nodes", body, minor=since - 1).status_code == 406
        assert service.ask("POST", "/v1/nodes", body, minor=since).status_code == 201
    if Write.PATCH in WRITABLE[name].write:
        patch = [{"op": "add", "path": f"/{name}", "value": "n1" if name == "name" else None}]
        removal = [{"op": "remove", "path": f"/{name}"}]
        assert service.ask("PATCH", f"/v1/nodes/{created}", patch, minor=since - 1).status_code == 406
        assert service.ask("PATCH", f"/v1/nodes/{created}", patch, minor=since).status_code == 200
        assert service.ask("PATCH", f"/v1/nodes/{created}", removal, minor=since - 1).status_code == 200


@pytest.mark.parametrize(("name", "one"), [(name, one) for name, one in node.FILTERS.items() if one.argument.since > 1])
def test_a_filter_of_nodes_is_refused_before_its_version(service: Service, name: str, one: Filter) -> None:
    value = {"provision_state": "enroll", "fault": "power failure", "sharded": "yes", "include_children": "1"}.get(name)
    created = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n1"}).status_code
    assert created == 201
    path = f"/v1/nodes?{name}={value or 'n1'}"
    assert service.ask("GET", path, minor=one.argument.since - 1).status_code == 406
    assert service.ask("GET", path, minor=one.argument.since).status_code == 200


@pytest.mark.parametrize(("minor", "states"), [(1, {None}), (2, {"available"}), (110, {"enroll"})])
def test_the_state_that_a_new_node_begins_in(service: Service, minor: int, states: set[str | None]) -> None:
    created = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}, minor=minor)
    assert {created.json["provision_state"]} == states


def test_routes_of_newer_versions_are_not_there_before(service: Service) -> None:
    uuid = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}).json["uuid"]
    for path, since, status in (
        (f"nodes/{uuid}/history", 78, 404),
        (f"nodes/{uuid}/traits", 37, 406),
        ("conductors", 49, 404),
        ("allocations", 52, 404),
    ):
        assert service.ask("GET", f"/v1/{path}", minor=since - 1).status_code == status
        assert service.ask("GET", f"/v1/{path}", minor=since).status_code == 200


def test_the_version_documents(service: Service) -> None:
    root_document, v1 = service.ask("GET", "/").json, service.ask("GET", "/v1/", minor=48).json
    assert root_document["versions"] == [root_document["default_version"]]
    assert v1["version"] == root_document["default_version"]
    assert v1["version"]["version"] == "1.110"
    assert "conductors" not in v1
    assert "conductors" in service.ask("GET", "/v1", minor=49).json
    assert service.ask("HEAD", "/v1/").status_code == 200
