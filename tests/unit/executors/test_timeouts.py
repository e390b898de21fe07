"""Time limits that are looked at together, in a time that jumps."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from ironic_lite.executors.timeouts import LOOK_S, TimeLimit
from tests.parts.virtual_time import VirtualLoop, run


async def within(seconds: float, takes_s: float) -> float:
    """Work with a limit: when it was cancelled, or when it ended."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(TimeoutError), TimeLimit(seconds):
        await asyncio.sleep(takes_s)
        return loop.time()
    return loop.time()


def test_what_takes_too_long_ends_soon_after_its_limit_and_nothing_else_does():
    async def scenario() -> list[float]:
        limits = [(seconds, takes_s) for seconds in (0.0, 0.05, 1.0, 7.3) for takes_s in (0.01, 5.0, 60.0)]
        ended = await asyncio.gather(*(within(*one) for one in limits))
        for (seconds, takes_s), end in zip(limits, ended, strict=True):
            if takes_s < seconds:
                assert end == pytest.approx(takes_s)
            else:
                assert min(seconds, takes_s) - 1e-6 <= end <= seconds + LOOK_S + 1e-6
        return ended

    run(scenario())


def test_a_limit_says_so_by_a_time_out_and_leaves_the_task_as_it_was():
    async def scenario() -> None:
        with pytest.raises(TimeoutError), TimeLimit(1):
            await asyncio.sleep(100)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        with TimeLimit(1):
            await asyncio.sleep(0.5)
        await asyncio.sleep(100)  # the limit of a block that has ended cancels nobody

    run(scenario())


@pytest.mark.parametrize("late", [False, True])
def test_who_is_cancelled_by_somebody_else_is_told_so_even_when_the_time_is_over(late: object):
    async def scenario() -> None:
        limit = TimeLimit(100)

        async def work() -> None:
            with limit:
                await asyncio.sleep(1000)

        task = asyncio.create_task(work())
        await asyncio.sleep(1)
        if late:
            limit.pass_by()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(scenario())


def test_the_inner_limit_is_not_the_outer_ones():
    async def scenario() -> None:
        with TimeLimit(10):
            with pytest.raises(TimeoutError), TimeLimit(1):
                await asyncio.sleep(100)
            await asyncio.sleep(1)
        with pytest.raises(TimeoutError), TimeLimit(1), TimeLimit(10):
            await asyncio.sleep(100)

    run(scenario())


def test_nobody_looks_while_there_is_no_limit():
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        await within(1, 0.5)
        await asyncio.sleep(1)
        before = loop.wakes
        await asyncio.sleep(1000)
        assert loop.wakes == before + 1
        assert await within(1, 100) == pytest.approx(loop.time())

    run(scenario())


def test_each_thread_looks_after_its_own():
    """A task may be cancelled in its loop's thread alone."""

    async def main() -> bool:
        with pytest.raises(TimeoutError), TimeLimit(0.01):
            await asyncio.sleep(20)
        return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: asyncio.run(main()), range(2))) == [True, True]
