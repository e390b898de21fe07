"""One poll of a machine's power: sushy in a thread beside an asyncio connection that is kept, on the same BMCs.

The BMCs are those of `python -m ironic_lite.fleet`, in a process of their own: only the client's CPU is counted.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import sushy

from choices.figures import cpu_us, tell
from ironic_lite import config
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.domain.node import Node
from ironic_lite.drivers import registry
from ironic_lite.drivers.redfish.power import RedfishPower

BMCS = 20
SWEEPS = 25
PASSWORD = "bench"
PATH = "/redfish/v1/Systems/1"
CLOSES = "sushy as it ships (Connection: close)"
KEEPS = "sushy, its connection kept"
OURS = "ironic_lite today (sushy on our connector)"
COROUTINE = "asyncio streams + msgspec, the least there could be"

Place = tuple[str, int]


class _Status(msgspec.Struct, rename="pascal"):
    health: str | None = None


class _Boot(msgspec.Struct):
    mode: str | None = msgspec.field(default=None, name="BootSourceOverrideMode")


class _System(msgspec.Struct, rename="pascal"):
    """What a poll wants of a System: all that the power sync reads."""

    power_state: str | None = None
    boot: _Boot | None = None
    status: _Status | None = None


@contextlib.contextmanager
def fleet() -> Iterator[list[Place]]:
    """The addresses of simulated BMCs, which end with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ironic_lite.fleet", "--size", str(BMCS), "--first-address", "127.78.0.1"],
        env=os.environ | {"IRONIC_LITE_FLEET_PASSWORD": PASSWORD}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield [(bmc["address"], bmc["port"]) for bmc in json.loads(process.stdout.readline())["bmcs"]]
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def of_sushy(places: list[Place], *, keep: bool) -> float:
    """CPU ms of one refresh of a System that is known, Basic auth."""
    systems = []
    for address, port in places:
        auth = sushy.auth.BasicAuth("admin", PASSWORD)
        root = sushy.Sushy(f"http://{address}:{port}", auth=auth)
        if keep:
            root._conn._session.headers["Connection"] = "keep-alive"  # noqa: SLF001  # sushy has no switch for it
        systems.append(root.get_system(PATH))

    def sweep() -> None:
        for system in systems:
            system.refresh(force=True)
            assert system.power_state is not None

    return cpu_us(sweep, SWEEPS) / len(places) / 1000


def of_ours(places: list[Place]) -> float:
    """CPU ms of one visit of the power sync's driver: limits, deadline and all."""
    config.load([], program="poller", files=[])
    clock, power = SystemClock(), RedfishPower()
    nodes = [
        Node(
            uuid=f"00000000-0000-0000-0000-{number:012}",
            driver="redfish",
            driver_info={
                "redfish_address": f"http://{address}:{port}", "redfish_system_id": PATH,
                "redfish_username": "admin", "redfish_password": PASSWORD, "redfish_auth_type": "basic",
            },
        )
        for number, (address, port) in enumerate(places)
    ]  # fmt: skip

    def sweep() -> None:
        for node in nodes:
            assert power.read(node, Deadline(clock, 10)).power is not None

    spent_ms = cpu_us(sweep, SWEEPS) / len(places) / 1000
    registry.close_all(Deadline(clock, 10))
    return spent_ms


async def _poll(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> _System:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
    assert head.startswith(b"HTTP/1.1 200 ")
    return msgspec.json.decode(await reader.readexactly(int(fields[b"content-length"])), type=_System)


async def of_coroutines(places: list[Place]) -> float:
    """CPU ms of one GET on a connection that is kept, of all BMCs at a time."""
    login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    bmcs = [
        (
            *await asyncio.open_connection(address, port),
            f"GET {PATH} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {login}\r\n\r\n".encode(),
        )
        for address, port in places
    ]
    spent_s = []
    for _ in range(4):
        began = time.process_time()
        for _ in range(SWEEPS):
            found = await asyncio.gather(*(_poll(*bmc) for bmc in bmcs))
            assert all(system.power_state for system in found)
        spent_s.append(time.process_time() - began)
    for _, writer, _ in bmcs:
        writer.close()
        await writer.wait_closed()
    return min(spent_s) / SWEEPS / len(places) * 1000


def main() -> None:
    with fleet() as places:
        tell(
            f"CPU ms for one poll, {BMCS} BMCs, plain HTTP",
            {
                CLOSES: of_sushy(places, keep=False),
                KEEPS: of_sushy(places, keep=True),
                OURS: of_ours(places),
                COROUTINE: asyncio.run(of_coroutines(places)),
            },
            baseline=KEEPS,
        )


if __name__ == "__main__":
    main()
