"""Taking turns at a BMC, the gate, and the loop that begins when it is needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.drivers.contact import WAITING_LIMIT, Contact, Engaged, Gate, IoLoop, Rank

CLOCK = SystemClock()
NEVER = 1e6


def within(seconds: float = 20.0) -> Deadline:
    return Deadline(CLOCK, seconds)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 20))


async def turned() -> None:
    """Everything that is ready has had its turn of the loop."""
    for _ in range(5):
        await asyncio.sleep(0)


class Log:
    """Work that says when it begins, and ends when it is let."""

    def __init__(self) -> None:
        self.began: list[object] = []
        self.let_go = asyncio.Event()

    def work(self, name: object) -> Callable[[], Awaitable[object]]:
        async def one() -> object:
            self.began.append(name)
            await self.let_go.wait()
            return name

        return one


def test_one_at_a_time_and_power_ahead_of_sensors():
    async def scenario() -> None:
        contact, log = Contact(), Log()
        names = [
            ("first", Rank.SENSORS),
            ("sensors 1", Rank.SENSORS),
            ("sensors 2", Rank.SENSORS),
            ("power 1", Rank.POWER),
            ("action", Rank.ACTION),
            ("power 2", Rank.POWER),
        ]
        tasks = []
        for name, rank in names:
            tasks.append(asyncio.create_task(contact.run(log.work(name), rank, within())))
            await turned()
        assert log.began == ["first"]
        log.let_go.set()
        assert await asyncio.gather(*tasks) == [name for name, _ in names]
        assert log.began == ["first", "action", "power 1", "power 2", "sensors 1", "sensors 2"]

    run(scenario())


def test_a_wait_and_work_end_by_the_deadline():
    async def scenario() -> None:
        contact, log = Contact(), Log()
        first = asyncio.create_task(contact.run(log.work("first"), Rank.POWER, within(NEVER)))
        await turned()
        with pytest.raises(Engaged):
            await contact.run(log.work("late"), Rank.POWER, within(0.05))
        first.cancel()
        await asyncio.wait([first])
        with pytest.raises(TimeoutError):
            await contact.run(log.work("slow"), Rank.POWER, within(0.05))
        assert log.began == ["first", "slow"]
        log.let_go.set()
        assert await contact.run(log.work("next"), Rank.POWER, within()) == "next"

    run(scenario())


def test_few_wait():
    async def scenario() -> None:
        contact, log = Contact(), Log()
        tasks = [
            asyncio.create_task(contact.run(log.work(number), Rank.POWER, within()))
            for number in range(WAITING_LIMIT + 1)
        ]
        await turned()
        with pytest.raises(Engaged):
            await contact.run(log.work("one more"), Rank.ACTION, within())
        log.let_go.set()
        assert await asyncio.gather(*tasks) == list(range(WAITING_LIMIT + 1))

    run(scenario())


@pytest.mark.parametrize("granted", [False, True])
def test_a_turn_that_nobody_takes_any_more_goes_to_the_next(granted: object):
    async def scenario() -> None:
        contact, log = Contact(), Log()

        async def first() -> None:
            await contact.run(log.work("first"), Rank.POWER, within())
            gives_up.cancel()  # in the very step in which it was given the turn

        ahead = asyncio.create_task(first())
        gives_up, last = (
            asyncio.create_task(contact.run(log.work(name), Rank.POWER, within())) for name in ("gone", "last")
        )
        await turned()
        if not granted:
            gives_up.cancel()
            await turned()
        log.let_go.set()
        assert await last == "last"
        await asyncio.wait([ahead, gives_up])
        assert log.began == ["first", "last"]
        assert await contact.run(log.work("next"), Rank.POWER, within()) == "next"

    run(scenario())


def test_a_failure_ends_the_turn():
    async def scenario() -> None:
        contact, log = Contact(), Log()
        log.let_go.set()

        async def fails() -> None:
            raise KeyError

        with pytest.raises(KeyError):
            await contact.run(fails, Rank.POWER, within())
        assert await contact.run(log.work("next"), Rank.POWER, within()) == "next"

    run(scenario())


def test_the_gate_is_bounded_and_a_place_is_left_once():
    async def scenario() -> None:
        gate = Gate(2, hold_s=NEVER)
        first, second = await gate.enter(), await gate.enter()
        third = asyncio.create_task(gate.enter())
        await turned()
        assert not third.done()
        with first:
            pass
        with first:
            pass
        await third
        fourth = asyncio.create_task(gate.enter())
        await turned()
        assert not fourth.done()
        with second:
            pass
        await fourth

    run(scenario())


def test_who_hangs_in_the_gate_holds_up_others_for_a_moment_only():
    async def scenario() -> None:
        gate = Gate(1, hold_s=0.01)
        with await gate.enter(), await gate.enter(), await gate.enter():
            pass

    run(scenario())


def loops() -> int:
    return sum(one.name == "bmc loop" for one in threading.enumerate())


async def who() -> str:
    return threading.current_thread().name


def test_the_loop_begins_with_the_first_work_and_again_after_its_end():
    io, before = IoLoop(), loops()
    assert io.stop(within()) == []
    assert (io.running(), io.stats(), loops()) == (False, (), before)
    for _ in range(2):
        assert io.submit(who(), "who").result(20) == "bmc loop"
        assert [one.name for one in io.stats()] == ["bmc loop"]
        assert (io.running(), loops()) == (True, before + 1)
        assert io.stop(within()) == []
        assert (io.running(), loops()) == (False, before)
