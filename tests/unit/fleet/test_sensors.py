from __future__ import annotations

import itertools

from ironic_lite.fleet import sensors


def test_the_same_seed_and_time_give_the_same_readings() -> None:
    first, again = (sensors.read("SIM1", at_s=1234.5, heat=0.5, running=True) for _ in range(2))
    assert first == again
    assert first != sensors.read("SIM2", at_s=1234.5, heat=0.5, running=True)


def test_readings_drift_smoothly_within_what_a_server_shows() -> None:
    series = [sensors.read("SIM1", at_s=float(at_s), heat=1.0, running=True) for at_s in range(600)]
    cpus = [readings.temperatures_c["CPU1"] for readings in series]
    assert min(cpus) > 50
    assert max(cpus) < 75
    assert max(abs(a - b) for a, b in itertools.pairwise(cpus)) < 2.0
    assert len(set(cpus)) > 20
    assert all(2000 < rpm < 12000 for readings in series for rpm in readings.fans_rpm.values())
    assert all(90 < watts < 250 for readings in series for watts in readings.supplies_w.values())


def test_a_machine_that_is_off_is_cool_still_and_on_standby_power() -> None:
    readings = sensors.read("SIM1", at_s=50.0, heat=0.0, running=False)
    assert readings.temperatures_c["CPU1"] < 30
    assert set(readings.fans_rpm.values()) == {0}
    assert set(readings.supplies_w.values()) == {sensors.STANDBY_W}
