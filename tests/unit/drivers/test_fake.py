"""fake-hardware and how slow it can be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ironic_lite import clock, config, errors
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power, PowerTarget
from ironic_lite.drivers import fake
from ironic_lite.drivers.interfaces import Attempt
from ironic_lite.drivers.settling import finish

Load = Callable[[str], None]
NODE = Node(uuid="u", driver="fake-hardware", power_state=Power.ON)


@pytest.fixture
def options(tmp_path: Path) -> Iterator[Load]:
    """Load a [fake] section; everything back to its default afterwards."""

    def load(text: str) -> None:
        path = tmp_path / "ironic.conf"
        path.write_text(f"[fake]\n{text}\n")
        config.load([], program="tests", files=[str(path)])

    yield load
    config.load([], program="tests", files=[])


@pytest.mark.parametrize(("text", "expected"), [("0", (0, 0)), ("2", (2, 2)), ("0.5,2", (0.5, 2)), (" 1 , 3 ", (1, 3))])
def test_a_delay_is_one_duration_or_two(options: Load, text: str, expected: Any) -> None:
    options(f"power_delay = {text}")
    assert fake.conf.power_delay == expected


@pytest.mark.parametrize("text", ["soon", "-1", "3,1", "1,2,3", "", "nan", "inf", "1,"])
def test_a_bad_delay_is_told_at_start(options: Load, text: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="power_delay"):
        options(f"power_delay = {text}")


def test_a_change_pauses_for_the_delay(options: Load) -> None:
    options("power_delay = 2,4")
    manual = clock.ManualClock()
    attempt = Attempt(clock.Deadline(manual, 60), permit=lambda: None, pause=manual.advance, report=lambda _text: None)
    pauses = list(fake.FakePower().change(NODE, PowerTarget.OFF, attempt))
    assert len(pauses) == 1
    assert 2 <= pauses[0] <= 4


def test_a_change_that_takes_too_long_is_told(options: Load) -> None:
    options("power_delay = 90")
    manual = clock.ManualClock()
    attempt = Attempt(
        clock.Deadline(manual, 60),
        permit=lambda: None,
        pause=manual.advance,
        report=lambda _text: None,
    )
    with pytest.raises(errors.PowerStateUnsettled, match="within 60 s"):
        finish(fake.FakePower().change(NODE, PowerTarget.OFF, attempt), attempt)


def test_a_reading_that_takes_too_long_is_no_answer(options: Load) -> None:
    options("power_delay = 60\nmanagement_delay = 60")
    asks: list[Callable[[Node, clock.Deadline], object]] = [
        fake.FakePower().read,
        fake.FakeManagement().boot_device,
        fake.FakeManagement().sensors,
    ]
    for ask in asks:
        with pytest.raises(errors.BMCUnreachable):
            ask(NODE, clock.Deadline(clock.SystemClock(), 0.05))


def test_reads_what_the_row_says_and_off_when_it_says_nothing(options: Load) -> None:
    options("")
    deadline = clock.Deadline(clock.SystemClock(), 5)
    assert fake.FakePower().read(NODE, deadline).power == Power.ON
    assert fake.FakePower().read(Node(uuid="u", driver="fake-hardware"), deadline).power == Power.OFF
