"""/metrics of the real service: of all API processes through their one port, and of the conductor on its own."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.parts.scrapes import Scrape, scraped
from tests.parts.service import Service, free_port, service
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

APIS = {"api-1", "api-2"}
COUNT = "ironic_lite_http_request_duration_seconds_count"


def pid(running: Service, name: str) -> int:
    """The latest process under that name."""
    return int(re.findall(rf"Started {name} as process (\d+)", running.log())[-1])


def up(now: Scrape) -> set[str]:
    return {dict(series)["worker"] for series, value in now.series("ironic_lite_worker_up").items() if value}


def scrape_with(running: Service, names: set[str]) -> Scrape:
    """A scrape in which these are up, and no other has series; on a slow machine it may take several."""
    found: list[Scrape] = []

    def seen() -> bool:
        found.append(scraped(running.port))
        return up(found[-1]) == found[-1].workers() == names

    until(seen, 60)
    return found[-1]


def is_stopped(process: int) -> bool:
    """Whether every thread is (proc(5))."""
    return all(") T " in one.read_text() for one in Path(f"/proc/{process}/task").glob("*/stat"))


@pytest.mark.parametrize("start_method", ["fork", "exec"])
def test_one_scrape_tells_of_every_process_that_lives_and_of_no_other(tmp_path: Path, start_method: str) -> None:
    own = free_port()
    options = {"api": {"api_workers": 2}, "conductor": {"metrics_port": own}}
    with service(tmp_path, DEFAULT={"start_method": start_method}, **options) as running:
        running.power(running.create("one"), "power on")
        now = scrape_with(running, APIS)
        answered = sum(now.series(COUNT).values())
        for _ in range(20):  # whoever answers them, all are counted
            running.get("/v1/nodes")
        assert sum(scrape_with(running, APIS).series(COUNT).values()) >= answered + 20

        until(lambda: scraped(own).value("ironic_lite_pool_executed_total", kind="actions") == 1)
        assert scraped(own).workers() == {"conductor"}
        assert now.value("process_resident_memory_bytes", worker="api-1") > 1e6

        os.kill(pid(running, "api-2"), signal.SIGSTOP)
        until(lambda: is_stopped(pid(running, "api-2")))
        scrape_with(running, {"api-1"})
        os.kill(pid(running, "api-2"), signal.SIGCONT)
        scrape_with(running, APIS)

        os.kill(pid(running, "api-2"), signal.SIGKILL)
        until(lambda: running.log().count("api-2 serves.") == 2)
        after = scrape_with(running, APIS)
        started = "process_start_time_seconds"
        assert after.value(started, worker="api-2") > now.value(started, worker="api-2")
        assert after.value(started, worker="api-1") == now.value(started, worker="api-1")
