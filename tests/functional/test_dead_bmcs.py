"""Clients that wait for dead BMCs leave room for everybody else, and are refused at once when they are too many."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.proofs.dead_bmcs import OTHERS, Asker, Other, fleet
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

DEAD, REQUESTS_EACH = 50, 50
CAP = 4  # half of [json_rpc]threads; the API's half is 6
# Longer than the test takes on any machine: what hangs ends when the test says so.
PATIENT = {
    "conductor": {"synchronous_call_timeout": 170},
    "json_rpc": {"timeout": 175},
    "redfish": {"read_timeout": 170},
}


def ask_together(one: Asker, begin: threading.Barrier) -> None:
    begin.wait(60)
    one.ask()


def ask_much(one: Other) -> None:
    for _ in range(REQUESTS_EACH):
        one.ask()


def counted(clients: list[Asker]) -> Counter[int]:
    """How many calls to dead BMCs were answered with which status."""
    return sum((each.answers for each in clients), Counter[int]())


def test_while_clients_wait_for_dead_bmcs_all_other_requests_are_answered(tmp_path: Path) -> None:
    # The fleet's end, also that of a failure, lets every thread of the pool end.
    with ThreadPoolExecutor(DEAD + OTHERS) as pool, fleet(tmp_path, DEAD, 7, **PATIENT) as (clients, others, bmcs):
        begin = threading.Barrier(DEAD)
        waiting = [pool.submit(ask_together, each, begin) for each in clients]
        # The surplus is refused with Retry-After (`ask` reads it) while the first ones hang.
        until(lambda: counted(clients) == Counter({503: DEAD - CAP}), 60)
        for done in [pool.submit(ask_much, each) for each in others]:
            done.result(100)
        assert sum((each.failed for each in others), Counter[str]()) == Counter()
        assert sum(len(each.took_s) for each in others) >= OTHERS * REQUESTS_EACH
        # All of that while they hung; and they give their turns back.
        assert counted(clients) == Counter({503: DEAD - CAP})
        bmcs.close()
        for hung in waiting:
            hung.result(60)
        assert counted(clients)[503] == DEAD - CAP
        assert clients[0].ask() == 0.0
