"""The ring."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ironic_lite.clock import new_uuid
from ironic_lite.cluster.members import Ring
from ironic_lite.db.conductors import Conductor

DRIVERS = {"fake-hardware": {"power": ["fake"]}}


def conductor(host: str, group: str = "", drivers: dict[str, dict[str, list[str]]] = DRIVERS) -> Conductor:
    return Conductor(host, f"http://{host}:8089", group, drivers)


def owner(ring: Ring, uuid: str, driver: str = "fake-hardware", group: str = "") -> str | None:
    found = ring.owner(uuid, driver, group)
    return found.hostname if found else None


def test_a_ring_of_one_owns_everything_of_its_group_and_drivers():
    ring = Ring([conductor("h1")], 5)
    assert owner(ring, new_uuid()) == "h1"
    assert owner(ring, new_uuid(), driver="redfish") is None
    assert owner(ring, new_uuid(), group="rack1") is None
    assert ring.drivers() == ["fake-hardware"]


def test_work_of_no_node_is_spread_and_the_same_key_goes_to_the_same_conductor():
    ring = Ring([conductor(f"h{n}", f"rack{n}") for n in range(3)], 5)
    keys = [new_uuid() for _ in range(300)]
    chosen = [ring.somebody(key) for key in keys]
    assert {one.hostname for one in chosen if one} == {"h0", "h1", "h2"}
    assert [ring.somebody(key) for key in keys] == chosen
    assert Ring([], 5).somebody("x") is None


def test_groups_are_apart_whatever_their_case():
    ring = Ring([conductor("h1"), conductor("h2", "Rack1")], 5)
    assert {owner(ring, new_uuid()) for _ in range(50)} == {"h1"}
    assert {owner(ring, new_uuid(), group="rack1") for _ in range(50)} == {"h2"}
    assert ring.groups() == {"", "rack1"}


def test_nodes_are_spread_and_few_move_when_a_conductor_leaves():
    three, two = ([conductor(f"h{n}") for n in range(count)] for count in (3, 2))
    uuids = [new_uuid() for _ in range(3000)]
    before, after = Ring(three, 5), Ring(two, 5)
    assert all(600 < count < 1500 for count in Counter(owner(before, one) for one in uuids).values())
    moved = [one for one in uuids if owner(before, one) != owner(after, one)]
    assert {owner(before, one) for one in moved} == {"h2"}


@given(st.permutations(["h1", "h2", "h3", "h4"]), st.uuids())
def test_every_process_sees_the_same_owner(hosts: list[str], uuid: object):
    ring, same = Ring([conductor(host) for host in hosts], 5), Ring([conductor(f"h{n}") for n in range(1, 5)], 5)
    assert owner(ring, str(uuid)) == owner(same, str(uuid))


def test_nobody_serves_an_empty_cluster():
    assert owner(Ring([], 5), new_uuid()) is None


@pytest.mark.parametrize(
    ("uuid", "expected"),
    [
        ("6b2f0e0e-5d3a-4a52-9d3e-0d7f3f2c1a11", "h2"),
        ("00000000-0000-0000-0000-000000000000", "h1"),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", "h2"),
    ],
)
def test_ownership_is_stable_across_versions(uuid: str, expected: str):
    assert owner(Ring([conductor("h1"), conductor("h2")], 5), uuid) == expected
