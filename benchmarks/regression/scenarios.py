"""What is compared, as a table: a new scenario is a function and a row.

A function gets a build and returns the values of its row's figures, by name. Whatever it raises makes the figures of
that build missing: of the base that is told, of the head it is a failure.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from first_light import pause
from processes import pss_mib, threads, wakeups

from regression.builds import Build
from regression.comparison import Figure
from regression.running import Service, running

NODES: Final = 100
POWERED: Final = 60
SETTLE_S: Final = 3.0
WATCHED_S: Final = 4.0

Values = dict[str, float]


class Scenario(NamedTuple):
    """What is done, and what is told of it."""

    name: str
    measure: Callable[[Build], Values]
    figures: tuple[Figure, ...]


def executor(build: Build) -> Values:
    """A task's round trip, and its share of a burst."""
    program = Path(__file__).parent / "executor_program.py"
    done = subprocess.run(
        [build.python, "-P", str(program)], check=True, capture_output=True, text=True, env=build.environment()
    )
    found: Values = json.loads(done.stdout)
    return found


def api(build: Build) -> Values:
    """One client: reads of a node, lists of 100, power changes until the machine is there."""
    with running(build, "[conductor]\nsync_power_state_interval = 0\n[fake]\npower_delay = 0\n") as service:
        service.create(NODES)
        for number in range(20):  # what is compiled at first use is
            service.request("GET", f"/v1/nodes/bench-{number}")
            service.request("GET", "/v1/nodes?limit=100")
        change_power(service, "power on", 20)
        return {
            **cost(
                "GET node", service, 400, lambda number: service.request("GET", f"/v1/nodes/bench-{number % NODES}")
            ),
            **cost("GET 100 nodes", service, 100, lambda _: service.request("GET", "/v1/nodes?limit=100")),
            **cost("PUT power", service, 2 * POWERED, lambda _: None, lambda: cycle_power(service)),
        }


def cost(
    name: str, service: Service, count: int, ask: Callable[[int], object], work: Callable[[], None] | None = None
) -> Values:
    """CPU of the service and time for each of `count` requests: `ask` each of them, or `work` them all off."""
    cpu_s, began = service.live_cpu_s(), time.monotonic()
    if work is not None:
        work()
    else:
        for number in range(count):
            ask(number)
    took_s = time.monotonic() - began
    return {f"{name} CPU": (service.live_cpu_s() - cpu_s) / count * 1000, f"{name} time": took_s / count * 1000}


def cycle_power(service: Service) -> None:
    change_power(service, "power off", POWERED)
    change_power(service, "power on", POWERED)


def change_power(service: Service, target: str, nodes: int) -> None:
    for number in range(nodes):
        service.request("PUT", f"/v1/nodes/bench-{number}/states/power", {"target": target})
    wait_for("power_state", target, service, nodes)


def manage(service: Service) -> None:
    """Have every node verified, as only then its power is watched."""
    for number in range(NODES):
        service.request("PUT", f"/v1/nodes/bench-{number}/states/provision", {"target": "manage"})
    wait_for("provision_state", "manageable", service, NODES)


def wait_for(field: str, value: str, service: Service, nodes: int) -> None:
    """Return when the first `nodes` nodes are there and nobody works on them."""
    path = f"/v1/nodes?limit={NODES}&fields=name,reservation,{field}"
    while any(
        one[field] != value or one["reservation"]
        for one in service.request("GET", path)["nodes"]
        if int(one["name"].removeprefix("bench-")) < nodes
    ):
        pause(0.02)


def poll(build: Build) -> Values:
    """The power sync, which visits each of 100 nodes once a second."""
    with running(build, "[conductor]\nsync_power_state_interval = 1\n") as service:
        service.create(NODES)
        manage(service)
        pause(SETTLE_S)
        cpu_s, began = service.live_cpu_s(), time.monotonic()
        pause(WATCHED_S)
        visits = NODES * (time.monotonic() - began)
        return {"visit CPU": (service.live_cpu_s() - cpu_s) / visits * 1000}


def idle(build: Build) -> Values:
    """Three processes that nobody asks anything."""
    with running(build) as service:
        started_s = service.cpu_s()
        pause(SETTLE_S)
        before = wakeups(service.pids)
        pause(WATCHED_S)
        woken = wakeups(service.pids) - before
        return {
            "start CPU": started_s,
            "PSS": pss_mib(service.pids),
            "threads": threads(service.pids),
            "wake-ups": woken / WATCHED_S,
        }


# CPU may grow by a tenth; time is for what CPU does not see, such as waits, and suffers from neighbours. Few wake-ups
# are as good as none.
SCENARIOS: Final = (
    Scenario("executor", executor, (Figure("round trip", "µs CPU", 0.10), Figure("burst", "µs CPU", 0.10))),
    Scenario(
        "api",
        api,
        tuple(
            Figure(f"{name} {what}", f"ms {what}", bound)
            for name in ("GET node", "GET 100 nodes", "PUT power")
            for what, bound in (("CPU", 0.10), ("time", 0.25))
        ),
    ),
    Scenario("poll", poll, (Figure("visit CPU", "ms CPU", 0.10),)),
    Scenario(
        "idle",
        idle,
        (
            Figure("start CPU", "s CPU", 0.10),
            Figure("PSS", "MiB", 0.03),
            Figure("threads", "at rest", 0.15),
            Figure("wake-ups", "a second", 0.25, floor=2.0),
        ),
    ),
)
