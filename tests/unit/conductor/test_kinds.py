"""The conductor's kinds of work follow the options."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ironic_lite import config
from ironic_lite.conductor import kinds
from ironic_lite.conductor.context import Work


@pytest.fixture(autouse=True)
def cleared() -> Iterator[None]:
    yield
    for name in ("periodic_max_workers", "workers_pool_size", "reserved_workers_pool_percentage"):
        config.CONF.clear_override(name, "conductor")


def caps() -> dict[str, int]:
    return {kind.name: kind.cap for kind in kinds.kinds()}


def test_the_start_up_line_tells_the_table():
    assert kinds.described(kinds.kinds()) == (
        "300 workers, of which 15 for actions and provisioning alone; at most at a time: actions 300, "
        "provisioning 300, waits 8, power sync 8, power recovery 8, sensor collection 4, house-keeping 2"
    )
    assert [kind.name for kind in kinds.kinds() if kind.critical] == [Work.ACTIONS, Work.PROVISIONING]


def test_the_power_sync_has_the_smaller_of_its_two_options():
    config.CONF.set_override("periodic_max_workers", 5, "conductor")
    assert (caps()[Work.POWER_SYNC], caps()[Work.POWER_RECOVERY]) == (5, 5)
    config.CONF.set_override("periodic_max_workers", 50, "conductor")
    assert (caps()[Work.POWER_SYNC], caps()[Work.POWER_RECOVERY]) == (8, 50)


@pytest.mark.parametrize(("size", "percentage", "reserved"), [(300, 5, 15), (3, 5, 1), (3, 50, 2), (10, 0, 0)])
def test_the_reserved_share_leaves_something_for_the_others(size: int, percentage: int, reserved: int):
    config.CONF.set_override("workers_pool_size", size, "conductor")
    config.CONF.set_override("reserved_workers_pool_percentage", percentage, "conductor")
    assert kinds.reserved() == reserved < size
