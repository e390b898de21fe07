"""Whatever a client sends is its own fault: never a 500, and a refused write changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from ironic_lite import config
from ironic_lite.api import paging
from ironic_lite.api.resource import Write
from ironic_lite.api.v1.allocation import FILTERS as ALLOCATION_FILTERS
from ironic_lite.api.v1.allocation import Allocation
from ironic_lite.api.v1.node import FILTERS, Node
from ironic_lite.api.v1.node_states import POWER_TARGETS
from ironic_lite.api.v1.port import FILTERS as PORT_FILTERS
from ironic_lite.api.v1.port import Port
from ironic_lite.db import tables
from ironic_lite.domain.provision import VERBS
from ironic_lite.domain.states import BootDevice
from tests.parts.api import Service, allocating, sqlite

SETTINGS = hypothesis.settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
TABLES = (tables.nodes, tables.ports, tables.allocations)
UUID_COLUMN = list(tables.nodes.c.keys()).index("uuid")  # the same in all

ODD = st.sampled_from(
    ["", " ", "\x00", "x" * 256, "é", "power on", "fake-hardware", "redfish", "n1", "p1", "true", "-1", "1e9", "../..",
     "%", "52:54:00:aa:bb:01", "11111111-1111-1111-1111-111111111111", "manageable", "a,b,,c", "\ud7ff", "'; DROP"]
)  # fmt: skip
OBJECTS = st.dictionaries(ODD | st.text(), ODD | st.integers(), max_size=3)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False)
    | ODD
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD | st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*Node.fields, *Port.fields, *Allocation.fields, "node_ident", "target", "timeout", "colour"])
BODIES = (
    st.dictionaries(FIELDS, VALUES, max_size=6)
    | st.dictionaries(st.sampled_from([*Node.writable(Write.CREATE)]), OBJECTS | ODD | VALUES, max_size=2).map(
        lambda body: {"driver": "fake-hardware"} | body
    )
    | st.dictionaries(
        st.sampled_from([*Allocation.writable(Write.CREATE), "node"]), OBJECTS | ODD | VALUES, max_size=2
    ).map(lambda body: {"resource_class": "big"} | body)
    | st.dictionaries(st.sampled_from([*Port.writable(Write.CREATE)]), OBJECTS | ODD | VALUES, max_size=2).map(
        lambda body: {"node_ident": "n1", "address": "52:54:00:aa:bb:09"} | body
    )
    | VALUES
)
POINTERS = st.builds(
    lambda root, rest: f"/{root}{rest}", FIELDS, st.sampled_from(["", "/a", "/a/b", "/0", "/-", "/~1", "/"])
)
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "replace"]),
        "path": st.sampled_from(
            [
                f"/{name}"
                for name in Node.writable(Write.PATCH) | Port.writable(Write.PATCH) | Allocation.writable(Write.PATCH)
            ]
        ),
        "value": OBJECTS | ODD | VALUES,
    }
) | st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "replace", "remove", "test"]), "path": POINTERS | st.text()},
    optional={"value": VALUES},
)
MINORS = st.just(110) | st.integers(1, 110)


KEYS = ["target", "timeout", "reason", "boot_device", "persistent", "configdrive", "traits"]
LISTS = [
    "nodes", "nodes/detail", "ports", "ports/detail", "drivers", "conductors", "nodes/n1", "nodes/n1/ports",
    "nodes/n1/traits", "allocations", "allocations/a1",
]  # fmt: skip
ARGUMENTS = [*FILTERS, *PORT_FILTERS, *ALLOCATION_FILTERS, *paging.ARGUMENTS, "fields", "detail", "type"]
WORDS = [*VERBS, *POWER_TARGETS, *BootDevice, True, 30]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    config.load([], program="test", files=[])
    made = Service(sqlite(tmp_path_factory.mktemp("fuzz")))
    assert made.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n1"}).status_code == 201
    port = {"node_ident": "n1", "address": "52:54:00:aa:bb:01", "name": "p1"}
    assert made.ask("POST", "/v1/ports", port).status_code == 201
    made.conductors.works["create_allocation"] = allocating(made.database)
    assert made.ask("POST", "/v1/allocations", {"resource_class": "big", "name": "a1"}).status_code == 201
    yield made
    made.close()


def send(service: Service, method: str, path: str, body: Any, minor: int) -> int:
    """The status of one request, which is never the server's fault; a refused one changed nothing."""
    before = [service.rows(table) for table in TABLES]
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    result = service.ask(method, path, raw=raw, minor=minor)
    assert result.status_code < 500, f"{method} {path} {raw!r}: {result.text}"
    if result.status_code >= 400:
        assert [service.rows(table) for table in TABLES] == before
        assert isinstance(msgspec.json.decode(result.json["error_message"])["faultstring"], str)
    return result.status_code


@SETTINGS
@hypothesis.given(st.sampled_from(["nodes", "ports", "allocations"]), BODIES, MINORS)
def test_creating(service: Service, collection: str, body: Any, minor: int) -> None:
    if send(service, "POST", f"/v1/{collection}", body, minor) == 201:
        newest = service.newest(tables.metadata.tables[collection])
        assert send(service, "DELETE", f"/v1/{collection}/{newest}", b"", 110) in (204, 409)


@SETTINGS
@hypothesis.given(st.sampled_from(["nodes", "ports", "allocations"]), st.lists(OPERATIONS, max_size=2) | VALUES, MINORS)
def test_changing(service: Service, collection: str, body: Any, minor: int) -> None:
    first = service.rows(tables.metadata.tables[collection])[0][UUID_COLUMN]
    if send(service, "PATCH", f"/v1/{collection}/{first}", body, minor) == 200:
        back = [{"op": "add", "path": "/name", "value": collection[0] + "1"}]
        assert send(service, "PATCH", f"/v1/{collection}/{first}", back, 110) == 200


@SETTINGS
@hypothesis.given(
    st.sampled_from(["states/power", "states/provision", "maintenance", "management/boot_device", "traits"]),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(WORDS) | VALUES, max_size=2) | VALUES,
    MINORS,
)  # fmt: skip
def test_acting(service: Service, action: str, body: Any, minor: int) -> None:
    send(service, "PUT", f"/v1/nodes/n1/{action}", body, minor)


@SETTINGS
@hypothesis.given(
    st.sampled_from(LISTS),
    st.lists(
        st.tuples(
            st.sampled_from(ARGUMENTS),
            ODD | FIELDS | st.text() | st.integers().map(str),
        ),
        max_size=3,
    ),
    MINORS,
)  # fmt: skip
def test_listing(service: Service, path: str, arguments: list[tuple[str, str]], minor: int) -> None:
    query = "&".join(f"{name}={quote(value)}" for name, value in arguments)
    send(service, "GET", f"/v1/{path}?{query}", b"", minor)


@SETTINGS
@hypothesis.given(
    st.sampled_from(["GET", "DELETE", "PATCH", "PUT"]), ODD | st.text(min_size=1), st.binary(max_size=40), MINORS
)
def test_naming(service: Service, method: str, ident: str, body: bytes, minor: int) -> None:
    name = quote(ident, safe="")
    if ident.strip("/") not in ("n1", "p1", "a1"):
        for path in (
            f"/v1/nodes/{name}",
            f"/v1/nodes/{name}/states",
            f"/v1/ports/{name}",
            f"/v1/allocations/{name}",
            f"/v1/nodes/n1/traits/{name}",
            f"/v1/drivers/{name}",
            f"/{name}",
        ):
            send(service, method, path, body, minor)
