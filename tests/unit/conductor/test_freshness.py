"""Who is asked when: a fleet of coroutines under a conductor's questions, hours of it in a time that jumps."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from ironic_lite import config, errors
from ironic_lite.conductor import freshness
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.lanes import PROBES
from ironic_lite.conductor.picture import Mode, Way
from ironic_lite.domain.states import Power
from tests.parts.virtual_fleet import Direct, VirtualBmc, VirtualFleet
from tests.parts.virtual_time import virtual_loop

INTERVAL_S = 60
TURN_S = 0.9 * INTERVAL_S
Scenario = Callable[[VirtualFleet], Coroutine[Any, Any, None]]
OURS = "the network or the processor of this conductor is at fault"


@pytest.fixture
def play(conductor: Conductor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Scenario], None]]:
    """Play a scenario to its end."""
    config.CONF.set_override("power_state_sync_max_retries", 10**6, "conductor")
    with virtual_loop() as loop:
        monkeypatch.setattr(freshness, "IO", Direct(loop))

        async def played(scenario: Scenario) -> None:
            fleet = VirtualFleet(loop, conductor)
            await asyncio.sleep(0)
            await scenario(fleet)

        yield lambda scenario: loop.run_until_complete(played(scenario))


def gaps(bmc: VirtualBmc, since: float, until: float) -> list[float]:
    """Between the questions of that time, and to its end."""
    times = [since, *bmc.times(since), until]
    return [after - before for before, after in itertools.pairwise(times)]


@pytest.mark.parametrize(("dead", "fault"), [(200, "refuses"), (350, "hangs")])
def test_dead_ones_put_off_nobody_and_end_in_few_places(play: Callable[[Scenario], None], dead: int, fault: str):
    async def scenario(fleet: VirtualFleet) -> None:
        fleet.add(1000)
        await asyncio.sleep(2 * INTERVAL_S)
        lost, healthy = fleet.bmcs[:dead], fleet.bmcs[dead:]
        for bmc in lost:
            bmc.fault = fault
        died = fleet.loop.time()
        await asyncio.sleep(20 * INTERVAL_S)
        now = fleet.loop.time()
        assert max(max(gaps(bmc, died, now)) for bmc in healthy) < TURN_S + 1.5
        assert all(fleet.seen(bmc).bmc.is_open for bmc in lost)
        later = died + 5 * INTERVAL_S
        assert not any(bmc.times(later, "coroutines") for bmc in lost), "they have places of their own"
        assert not any(bmc.times(died, "probes") for bmc in healthy)
        assert all(len(bmc.times(later)) <= 6 for bmc in lost), "and are asked ever less often"
        assert all(bmc.times(later) for bmc in lost)
        for bmc in lost:
            bmc.fault = ""
        await asyncio.sleep(12 * INTERVAL_S)
        assert not any(fleet.seen(bmc).bmc.is_open for bmc in lost), "back by themselves"

    play(scenario)


def test_no_more_probes_than_their_places(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        for bmc in fleet.add(400):
            bmc.fault = "hangs"
        most = 0
        for _ in range(2000):
            await asyncio.sleep(1)
            most = max(most, sum(bmc.in_flight for bmc in fleet.bmcs if fleet.seen(bmc).bmc.is_open))
        assert most == PROBES

    play(scenario)


def test_when_most_fail_at_once_it_is_us_however_long_and_one_line_says_so(
    play: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
):
    async def scenario(fleet: VirtualFleet) -> None:
        fleet.add(1000)
        await asyncio.sleep(2 * INTERVAL_S)
        for _ in range(2):  # the second time is told, too
            caplog.clear()
            for bmc in fleet.bmcs[:700]:
                bmc.fault = "refuses"
            await asyncio.sleep(10 * INTERVAL_S)
            for bmc in fleet.bmcs:
                bmc.fault = ""
            assert not any(fleet.seen(bmc).bmc.failures for bmc in fleet.bmcs)
            assert caplog.text.count(OURS) == 1
            assert "Power sync: visit" not in caplog.text
            await asyncio.sleep(3 * INTERVAL_S)
            assert caplog.text.count("The BMCs answer again as they did") == 1

    play(scenario)


def test_a_fifth_that_dies_at_once_is_not_us(play: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture):
    async def scenario(fleet: VirtualFleet) -> None:
        fleet.add(1000)
        await asyncio.sleep(2 * INTERVAL_S)
        for bmc in fleet.bmcs[:200]:
            bmc.fault = "refuses"
        await asyncio.sleep(TURN_S + 12)
        assert all(fleet.seen(bmc).failures for bmc in fleet.bmcs[:200])
        assert OURS not in caplog.text

    play(scenario)


def test_what_fails_while_our_loop_is_late_is_held_against_nobody(
    play: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
):
    async def scenario(fleet: VirtualFleet) -> None:
        fleet.add(300)
        await asyncio.sleep(2 * INTERVAL_S)
        for bmc in fleet.bmcs[:50]:
            bmc.fault = "hangs"
        for _ in range(40):
            fleet.loop.block(0.7)
            await asyncio.sleep(2)
        assert not any(fleet.seen(bmc).bmc.failures for bmc in fleet.bmcs)
        assert "our own loop was" in caplog.text
        await asyncio.sleep(2 * INTERVAL_S)
        assert all(fleet.seen(bmc).bmc.failures for bmc in fleet.bmcs[:50])

    play(scenario)


def test_a_question_that_takes_long_is_no_late_loop(play: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1)
        bmc.fault = "hangs"
        await asyncio.sleep(1)
        fleet.freshness.hint(fleet.seen(bmc).view.uuid)
        await asyncio.sleep(40)
        assert "our own loop was" not in caplog.text
        assert fleet.seen(bmc).failures == 2

    play(scenario)


def test_a_small_fleet_is_judged_at_once(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        for bmc in fleet.add(10):
            bmc.fault = "refuses"
        await asyncio.sleep(0.5)
        assert all(fleet.seen(bmc).failures == 1 for bmc in fleet.bmcs)

    play(scenario)


def test_nodes_of_one_bmc_take_turns_and_all_have_one(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1, nodes_each=16)
        bmc.takes_s = 1.0
        await asyncio.sleep(INTERVAL_S)
        for number in range(16):
            times = [when for uuid, when, _ in bmc.asked if uuid == f"{bmc.address}-{number}"]
            assert 1 <= len(times) <= 3
        began = fleet.loop.time()
        await asyncio.sleep(10 * INTERVAL_S)
        assert {uuid for uuid, when, _ in bmc.asked if when > began} == {f"{bmc.address}-{n}" for n in range(16)}
        assert len(bmc.times(began)) == pytest.approx(16 * 10 * INTERVAL_S / TURN_S, rel=0.1)

    play(scenario)


def test_who_is_taken_up_while_it_waits_for_its_bmc_keeps_no_other_from_it(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1, nodes_each=6)
        bmc.takes_s = 2.0
        await asyncio.sleep(1)
        busy = [fleet.view(bmc, number, mode=Mode.NONE, revision=1) for number in (1, 3)]
        fleet.freshness._place(busy, [f"{bmc.address}-2"])
        await asyncio.sleep(20)
        assert [uuid[-1] for uuid, _, _ in bmc.asked] == ["0", "4", "5"]

    play(scenario)


def test_hints_for_a_node_whose_bmc_is_busy_are_one_question(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1, nodes_each=2)
        await asyncio.sleep(2)
        bmc.takes_s = 3.0
        before = len(bmc.asked)
        fleet.freshness.hint(f"{bmc.address}-0")
        await asyncio.sleep(0.2)
        for _ in range(20):
            fleet.freshness.hint(f"{bmc.address}-1")
            await asyncio.sleep(0.12)
        await asyncio.sleep(8)
        assert [uuid[-1] for uuid, _, _ in bmc.asked[before:]] == ["0", "1"]

    play(scenario)


def test_a_hint_during_a_question_is_one_more_question_right_after_it(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1)
        bmc.takes_s = 2.0
        await asyncio.sleep(1)
        for _ in range(5):
            fleet.freshness.hint(fleet.seen(bmc).view.uuid)
        await asyncio.sleep(4)
        assert [round(when, 1) for when in bmc.times()] == [0.1, 2.1]

    play(scenario)


def test_the_nodes_of_a_dead_bmc_are_all_asked_among_the_probes(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1, nodes_each=8)
        await asyncio.sleep(INTERVAL_S)
        bmc.fault = "refuses"
        await asyncio.sleep(10 * INTERVAL_S)
        assert len(bmc.times(INTERVAL_S, "coroutines")) == 3, "then its breaker is open"
        assert {uuid for uuid, _, lane in bmc.asked if lane == "probes"} == {f"{bmc.address}-{n}" for n in range(8)}
        bmc.fault = ""
        await asyncio.sleep(12 * INTERVAL_S)
        back = fleet.loop.time()
        await asyncio.sleep(INTERVAL_S)
        assert len(set(bmc.times(back, "coroutines"))) >= 8

    play(scenario)


def test_a_node_whose_driver_info_was_mended_is_asked_at_once(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1)
        bmc.fault = "refuses"
        await asyncio.sleep(10 * INTERVAL_S)
        assert fleet.seen(bmc).bmc.is_open
        bmc.fault, now = "", fleet.loop.time()
        way = Way(1, bmc.address, fleet.seen(bmc).view.way.poll)
        fleet.freshness._place([fleet.view(bmc, revision=1, way=way)], [])
        await asyncio.sleep(1)
        assert len(bmc.times(now)) == 1
        assert not fleet.seen(bmc).bmc.is_open

    play(scenario)


def test_what_is_wrong_with_a_row_is_raised_each_time_and_remembered_once(play: Callable[[Scenario], None]):
    problem = errors.InvalidDriverInfo(node="n", problems="x")

    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1)
        fleet.freshness._place([fleet.view(bmc, revision=1, way=Way(1, bmc.address, problem=problem))], [])
        await asyncio.sleep(60 * INTERVAL_S)
        frames, trace = 0, problem.__traceback__
        while trace is not None:
            frames, trace = frames + 1, trace.tb_next
        assert fleet.seen(bmc).failures > 5
        assert frames < 5

    play(scenario)


def test_an_answer_counts_only_for_the_row_that_it_was_asked_for(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1)
        bmc.takes_s = 2.0
        await asyncio.sleep(1)
        fleet.freshness._place([fleet.view(bmc, revision=2, power_state=Power.OFF)], [])
        fleet.freshness._place([fleet.view(bmc, revision=1)], [])  # older: no news
        assert fleet.freshness.known(fleet.seen(bmc).view.uuid) == fleet.view(bmc, revision=2, power_state=Power.OFF)
        await asyncio.sleep(1.5)
        assert fleet.seen(bmc).at is None
        assert fleet.freshness.overview().outcomes == {"stale": 1}
        await asyncio.sleep(2)
        assert fleet.freshness.overview().outcomes == {"stale": 1, "answered": 1}
        assert [round(when, 1) for when in bmc.times()] == [0.1, 2.1]

    play(scenario)


def test_all_who_look_share_one_question_and_a_fresh_answer_asks_none(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1)
        bmc.takes_s = 1.0
        uuid = fleet.seen(bmc).view.uuid
        await asyncio.sleep(0.5)
        looks = [fleet.freshness.look(uuid, 10.0) for _ in range(50)]
        await asyncio.sleep(1.5)
        assert {one.result(0) for one in looks} == {fleet.seen(bmc)}
        again = fleet.freshness.look(uuid, 10.0)
        await asyncio.sleep(1)
        assert again.done()
        assert len(bmc.asked) == 1

    play(scenario)


def test_who_looks_is_told_of_failures_removal_and_the_end(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        refusing, removed, hung = fleet.add(3)
        refusing.fault, removed.fault, hung.fault = "refuses", "hangs", "hangs"
        looks = [fleet.freshness.look(fleet.seen(bmc).view.uuid, 0.0) for bmc in (refusing, removed, hung)]
        await asyncio.sleep(1)
        fleet.freshness._place([], [fleet.seen(removed).view.uuid])
        fleet.freshness.stop()
        late = fleet.freshness.look(fleet.seen(hung).view.uuid, 0.0)
        await asyncio.sleep(1)
        problems = [type(one.exception(0)) for one in (*looks, late)]
        assert problems == [errors.BMCUnreachable, errors.NodeNotFound, errors.Stopping, errors.Stopping]
        assert fleet.freshness.seen(f"{removed.address}-0") is None
        await asyncio.sleep(INTERVAL_S)
        assert [bmc.in_flight for bmc in fleet.bmcs] == [0, 0, 0], "cancelled"

    play(scenario)


def test_a_look_that_is_given_up_asks_nobody_any_more(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        (bmc,) = fleet.add(1)
        await asyncio.sleep(1)
        fleet.freshness._place([fleet.view(bmc, mode=Mode.NONE, revision=1)], [])
        bmc.fault = "engaged"
        look = fleet.freshness.look(fleet.seen(bmc).view.uuid, 0.0)
        await asyncio.sleep(5)
        assert (len(bmc.asked) > 3, look.done()) == (True, False)
        look.cancel()
        await asyncio.sleep(2)
        asked = len(bmc.asked)
        await asyncio.sleep(60)
        assert len(bmc.asked) == asked

    play(scenario)


def test_who_is_removed_or_left_alone_is_asked_no_more(play: Callable[[Scenario], None]):
    async def scenario(fleet: VirtualFleet) -> None:
        gone, busy, kept = fleet.add(3)
        await asyncio.sleep(1)
        fleet.freshness._place([fleet.view(busy, mode=Mode.NONE, revision=1)], [fleet.seen(gone).view.uuid])
        await asyncio.sleep(5 * INTERVAL_S)
        assert (len(gone.asked), len(busy.asked)) == (1, 1)
        assert len(kept.asked) >= 5
        fleet.freshness._place([fleet.view(busy, revision=2)], [])
        await asyncio.sleep(1)
        assert len(busy.asked) == 2, "whoever had it is done"

    play(scenario)
