"""The threads of a server: there when they are needed, gone when they are not."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.web.workers import Workers
from tests.waiting import until

LIMIT = 4


class Held:
    """Requests that last until they are let go."""

    def __init__(self, idle_s: float = 30.0) -> None:
        self.go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.served: list[int] = []
        self.workers = Workers[int]("held", LIMIT, self.serve, idle_s=idle_s)
        self.workers.start()

    def serve(self, request: int) -> None:
        self.begun.release()
        assert self.go.acquire(timeout=30)
        self.served.append(request)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.go.release(1000)
    assert made.workers.stop(Deadline(SystemClock(), 30))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("held-")]


def test_one_waits_for_the_first_request(held: Held) -> None:
    assert held.workers.count() == 1
    held.workers.give(0)
    assert held.begun.acquire(timeout=30)
    assert held.workers.count() == 1


def test_requests_at_a_time_bring_threads_up_to_the_limit(held: Held) -> None:
    for number in range(LIMIT + 3):
        held.workers.give(number)
    for _ in range(LIMIT):
        assert held.begun.acquire(timeout=30)
    assert held.workers.count() == LIMIT
    held.go.release(LIMIT + 3)
    until(lambda: sorted(held.served) == list(range(LIMIT + 3)), 30)
    assert held.workers.count() == LIMIT


def test_requests_one_after_the_other_bring_none(held: Held) -> None:
    for number in range(20):
        held.go.release()
        held.workers.give(number)
        until(lambda: held.workers._undone == 0, 30)
    assert held.workers.count() == 1
    assert held.served == list(range(20))


def test_idle_threads_leave_but_for_the_last_and_come_again() -> None:
    held = Held(idle_s=0.05)
    for _ in range(3):
        for number in range(LIMIT):
            held.workers.give(number)
        for _ in range(LIMIT):
            assert held.begun.acquire(timeout=30)
        assert held.workers.count() == LIMIT
        held.go.release(LIMIT)
        until(lambda: held.workers.count() == 1, 30)
    assert held.workers.stop(Deadline(SystemClock(), 30))


def test_no_request_is_lost_between_one_who_leaves_and_one_who_gives() -> None:
    """Idle for no time at all: each request meets threads that are about to leave."""
    served = threading.Semaphore(0)
    workers = Workers[int]("brief", LIMIT, lambda _request: served.release(), idle_s=0.0001)
    workers.start()
    for number in range(2000):
        workers.give(number)
        if number % 7 == 0:
            assert served.acquire(timeout=30)
            served.release()
    for _ in range(2000):
        assert served.acquire(timeout=30)
    assert workers.stop(Deadline(SystemClock(), 30))


def test_stop_says_when_somebody_did_not_end() -> None:
    held = Held()
    held.workers.give(0)
    assert held.begun.acquire(timeout=30)
    assert not held.workers.stop(Deadline(SystemClock(), 0.01))
    held.go.release()
    until(lambda: not any(thread.is_alive() for thread in held.workers._threads), 30)
    assert held.served == [0]


def test_without_threads_who_gives_serves():
    served: list[int] = []
    workers = Workers[int]("none", 0, served.append)
    workers.start()
    for number in range(3):
        workers.give(number)
    assert (workers.count(), workers.queued(), served) == (0, 3, [])
    workers.serve_here()
    assert (workers.count(), workers.queued(), served) == (0, 0, [0, 1, 2])
    assert workers.stop(Deadline(SystemClock(), 30))


def test_a_request_that_breaks_takes_no_thread_with_it(caplog: pytest.LogCaptureFixture) -> None:
    served: queue.SimpleQueue[int] = queue.SimpleQueue()

    def serve(request: int) -> None:
        if request == 0:
            raise KeyError("broken")
        served.put(request)

    workers = Workers[int]("breaking", 1, serve)
    workers.start()
    for request in (0, 1):
        workers.give(request)
    assert served.get(timeout=10) == 1
    assert workers.count() == 1
    assert "breaking could not serve a request." in caplog.messages
    assert workers.stop(Deadline(SystemClock(), 10))
