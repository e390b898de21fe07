from __future__ import annotations

from typing import Any

import pytest

from ironic_lite.fleet.faults import Fault, Faults, Kind, ScriptError, parse_script


def test_a_script_goes_from_step_to_step() -> None:
    faults = Faults()
    faults.set(parse_script({"script": [{"fault": "503", "times": 2}, {"fault": "slow", "seconds": 1, "times": 1}]}))
    met = [faults.meet(*Kind) for _ in range(4)]
    assert [fault and fault.fault for fault in met] == [Kind.BUSY, Kind.BUSY, Kind.SLOW, None]
    assert faults.script() == []


def test_a_fault_without_times_stays_until_it_is_replaced() -> None:
    faults = Faults()
    faults.set([Fault(Kind.GARBAGE)])
    assert all(faults.meet(Kind.GARBAGE) for _ in range(10))
    faults.set([])
    assert faults.meet(Kind.GARBAGE) is None


def test_a_request_that_a_fault_does_not_concern_leaves_it_for_later() -> None:
    faults = Faults()
    faults.set([Fault(Kind.WRONG_STATE, times=1)])
    assert faults.meet(Kind.HANG, Kind.SLOW) is None
    assert faults.meet(Kind.WRONG_STATE) is not None
    assert faults.current is None


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ({"fault": "explode"}, "one of hang, refuse"),
        ({"fault": "slow", "seconds": -1}, "0 to 3600"),
        ({"fault": "slow", "seconds": True}, "0 to 3600"),
        ({"fault": "hang", "times": 0}, "from 1"),
        ({"fault": "refuse", "times": 1}, "times must be absent"),
        ({"fault": "hang", "colour": "red"}, "fault, seconds, times"),
        ({"script": {"fault": "hang"}}, "list of at most"),
        ([], "fault, seconds, times"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused(script: Any, told: str) -> None:
    with pytest.raises(ScriptError, match=told):
        parse_script(script)
