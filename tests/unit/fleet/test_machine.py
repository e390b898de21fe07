from __future__ import annotations

import pytest

from ironic_lite.clock import ManualClock
from ironic_lite.fleet.machine import BootEnabled, BootSource, Machine, Power, Reset, StandbyError


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def watch(machine: Machine, clock: ManualClock, *advances_s: float) -> list[Power]:
    """The power now, and after each of the advances."""
    seen = [machine.power]
    for advance_s in advances_s:
        clock.advance(advance_s)
        seen.append(machine.power)
    return seen


def test_power_on_takes_its_time(clock: ManualClock) -> None:
    machine = Machine(clock, power_delay_s=3.0)
    machine.reset(Reset.ON)
    assert watch(machine, clock, 2.9, 0.2) == [Power.POWERING_ON, Power.POWERING_ON, Power.ON]


def test_without_a_delay_power_changes_at_once(clock: ManualClock) -> None:
    machine = Machine(clock)
    for kind, power in [(Reset.ON, Power.ON), (Reset.FORCE_OFF, Power.OFF), (Reset.PUSH_POWER_BUTTON, Power.ON)]:
        machine.reset(kind)
        assert machine.power is power


def test_a_graceful_shutdown_takes_twice_as_long_as_a_hard_one(clock: ManualClock) -> None:
    hard, soft = (Machine(clock, power_delay_s=3.0, power=Power.ON) for _ in range(2))
    hard.reset(Reset.FORCE_OFF)
    soft.reset(Reset.GRACEFUL_SHUTDOWN)
    assert {hard.power, soft.power} == {Power.POWERING_OFF}
    clock.advance(3.0)
    assert (hard.power, soft.power) == (Power.OFF, Power.POWERING_OFF)
    clock.advance(3.0)
    assert soft.power is Power.OFF


def test_a_power_cycle_goes_through_off(clock: ManualClock) -> None:
    machine = Machine(clock, power_delay_s=1.0, power=Power.ON)
    machine.reset(Reset.POWER_CYCLE)
    assert watch(machine, clock, 1.0, 1.0) == [Power.POWERING_OFF, Power.POWERING_ON, Power.ON]
    assert machine.boots == 1


def test_a_power_cycle_without_a_delay_boots_the_machine_too(clock: ManualClock) -> None:
    machine = Machine(clock, power=Power.ON)
    machine.reset(Reset.POWER_CYCLE)
    assert (machine.power, machine.boots) == (Power.ON, 1)


@pytest.mark.parametrize("kind", [Reset.FORCE_RESTART, Reset.GRACEFUL_RESTART])
def test_a_restart_keeps_the_power_up(clock: ManualClock, kind: Reset) -> None:
    machine = Machine(clock, power_delay_s=1.0, power=Power.ON)
    machine.reset(kind)
    assert (machine.power, machine.boots) == (Power.ON, 1)


def test_a_machine_that_is_still_starting_can_be_restarted(clock: ManualClock) -> None:
    machine = Machine(clock, power_delay_s=1.0)
    machine.reset(Reset.ON)
    machine.reset(Reset.FORCE_RESTART)
    assert watch(machine, clock, 1.0) == [Power.POWERING_ON, Power.ON]
    assert machine.boots == 2


@pytest.mark.parametrize("kind", [Reset.FORCE_RESTART, Reset.GRACEFUL_RESTART, Reset.POWER_CYCLE, Reset.NMI])
def test_a_machine_without_power_cannot_be_restarted(clock: ManualClock, kind: Reset) -> None:
    machine = Machine(clock)
    with pytest.raises(StandbyError):
        machine.reset(kind)
    assert (machine.power, machine.boots) == (Power.OFF, 0)


def test_a_machine_that_is_going_off_cannot_be_restarted(clock: ManualClock) -> None:
    machine = Machine(clock, power_delay_s=1.0, power=Power.ON)
    machine.reset(Reset.FORCE_OFF)
    with pytest.raises(StandbyError):
        machine.reset(Reset.FORCE_RESTART)
    assert watch(machine, clock, 1.0) == [Power.POWERING_OFF, Power.OFF]


def test_a_later_command_replaces_what_is_left_of_the_plan(clock: ManualClock) -> None:
    machine = Machine(clock, power_delay_s=2.0)
    machine.reset(Reset.ON)
    clock.advance(1.0)
    machine.reset(Reset.FORCE_OFF)
    assert watch(machine, clock, 60.0) == [Power.POWERING_OFF, Power.OFF]


def test_the_state_that_is_there_already_is_not_left(clock: ManualClock) -> None:
    machine = Machine(clock, power_delay_s=2.0, power=Power.ON)
    machine.reset(Reset.ON)
    assert (machine.power, machine.boots) == (Power.ON, 0)


@pytest.mark.parametrize(
    ("enabled", "source", "left"),
    [
        (BootEnabled.ONCE, BootSource.NONE, BootEnabled.DISABLED),
        (BootEnabled.CONTINUOUS, BootSource.PXE, BootEnabled.CONTINUOUS),
    ],
)
def test_a_boot_uses_up_an_override_for_once(
    clock: ManualClock, enabled: BootEnabled, source: BootSource, left: BootEnabled
) -> None:
    machine = Machine(clock)
    machine.boot_source, machine.boot_enabled = BootSource.PXE, enabled
    machine.reset(Reset.ON)
    assert machine.power is Power.ON
    assert (machine.boot_source, machine.boot_enabled) == (source, left)


def test_a_machine_warms_up_and_cools_down(clock: ManualClock) -> None:
    machine = Machine(clock)
    assert machine.heat == 0.0
    machine.reset(Reset.ON)
    clock.advance(90.0)
    warm = machine.heat
    assert 0.6 < warm < 0.7
    clock.advance(3600.0)
    assert machine.heat == pytest.approx(1.0)
    machine.reset(Reset.FORCE_OFF)
    clock.advance(90.0)
    assert machine.heat == pytest.approx(1.0 - warm)


def test_heat_does_not_depend_on_how_often_one_looks(clock: ManualClock) -> None:
    watched, alone = (Machine(clock, power_delay_s=5.0) for _ in range(2))
    for machine in (watched, alone):
        machine.reset(Reset.ON)
    for _ in range(100):
        clock.advance(0.7)
        assert watched.power in {Power.POWERING_ON, Power.ON}
    assert watched.heat == pytest.approx(alone.heat)
