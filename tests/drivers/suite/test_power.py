"""Power: what every driver does alike, on a machine that is real to it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ironic_lite import errors
from ironic_lite.domain.states import Power, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.settling import finish
from tests.drivers.conftest import Machine, attempt, deadline, lost


def change(machine: Machine, target: PowerTarget, **more: Any) -> None:
    working = attempt(**more)
    finish(registry.power(machine.node).change(machine.node, target, working), working)
    machine.written(target)


def read(machine: Machine) -> Power | None:
    return registry.power(machine.node).read(machine.node, deadline()).power


def test_reads_what_the_machine_is(machine: Machine) -> None:
    machine.press(True)
    assert read(machine) == Power.ON
    machine.press(False)
    assert read(machine) == Power.OFF


@pytest.mark.parametrize("target", list(PowerTarget))
@pytest.mark.parametrize("before", [Power.ON, Power.OFF])
def test_every_target_is_reached_from_on_and_from_off(machine: Machine, target: PowerTarget, before: Power) -> None:
    machine.press(before == Power.ON)
    change(machine, target)
    assert machine.is_on() == (target.settles_as == Power.ON)
    assert read(machine) == target.settles_as


@pytest.mark.parametrize("target", [target for target in PowerTarget if not target.always_acts])
def test_nothing_is_sent_to_a_machine_that_is_there_already(machine: Machine, target: PowerTarget) -> None:
    machine.press(target.settles_as == Power.ON)
    before = machine.changes()
    change(machine, target)
    assert machine.changes() == before


def test_nothing_is_sent_without_the_lock(machine: Machine) -> None:
    machine.press(True)
    before = machine.changes()
    with pytest.raises(errors.LockLost):
        change(machine, PowerTarget.OFF, permit=lost)
    assert machine.is_on()
    assert machine.changes() == before


def test_offers_every_target(machine: Machine) -> None:
    assert registry.power(machine.node).targets == frozenset(PowerTarget)


def test_a_machine_that_is_new_to_us_is_on_or_off(machine: Machine) -> None:
    machine.press(False)
    machine.node = msgspec.structs.replace(machine.node, power_state=None)
    assert read(machine) == Power.OFF
