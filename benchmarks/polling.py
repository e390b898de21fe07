"""What one poll of a machine's power costs: CPU and memory, beside the blocking way in the same run.

    python benchmarks/polling.py                  # 1,000 BMCs: plain HTTP, TLS and IPMI, about three minutes
    python benchmarks/polling.py --bmcs 200 --sweeps 5
    python benchmarks/polling.py --bmcs 10000 --sweeps 3 --only "IPMI, kept sessions"
    python benchmarks/polling.py --ironic DIR     # besides, Ironic's own driver, in the virtual environment DIR

The BMCs are `python -m ironic_lite.fleet` in a process of its own, so only the client's CPU is counted. Each way runs
in an interpreter of its own. Read CPU, not wall time: the machine may be shared.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import concurrent.futures
import contextlib
import functools
import gc
import json
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from ironic_lite import config
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.domain.node import Node
from ironic_lite.drivers import registry
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import PowerPoller
from ironic_lite.drivers.redfish import tls
from ironic_lite.drivers.redfish.account import account

PASSWORD = "bench"
SYSTEM = "/redfish/v1/Systems/1"
LATENCY_S = 0.2
IN_FLIGHT = 250
THREADS = 8
BLOCKING_BMCS = 100
IRONIC_BMCS = 20  # half a second of CPU each
IRONIC = "IRONIC_ENVIRONMENT"
CLOCK = SystemClock()
LIMIT_S = 300


@contextlib.contextmanager
def fleet(size: int, *more: str) -> Iterator[list[dict[str, Any]]]:
    """Simulated BMCs, which end with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ironic_lite.fleet", f"--size={size}", "--first-address=127.79.0.1",
         f"--latency={LATENCY_S}", *more],
        env=os.environ | {"IRONIC_LITE_FLEET_PASSWORD": PASSWORD}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["bmcs"]
    finally:
        registry.close_all(Deadline(CLOCK, 30))
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def node(number: int, url: str, ca_file: Path | None) -> Node:
    return Node(
        uuid=f"00000000-0000-0000-0000-{number:012}",
        driver="redfish",
        driver_info={
            "redfish_address": url, "redfish_system_id": SYSTEM, "redfish_username": "admin",
            "redfish_password": PASSWORD, "redfish_verify_ca": str(ca_file or True),
        },
    )  # fmt: skip


def ipmi_node(number: int, bmc: dict[str, Any]) -> Node:
    return Node(
        uuid=f"00000000-0000-0000-0000-{number:012}",
        driver="ipmi",
        driver_info={
            "ipmi_address": bmc["address"], "ipmi_port": bmc["port"], "ipmi_username": "admin",
            "ipmi_password": PASSWORD,
        },
    )  # fmt: skip


def rss_kib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024


async def sweep(power: PowerPoller, targets: list[Any]) -> None:
    """Poll each once, as a scheduler would: a task for each, a bounded number at a time."""
    places = asyncio.Semaphore(max(IN_FLIGHT, len(targets) // 20))

    async def one(target: Any) -> None:
        async with places:
            assert (await power.poll(target, Deadline(CLOCK, 30))).power is not None

    await asyncio.gather(*(asyncio.create_task(one(target)) for target in targets))


def of_poller(nodes: list[Node], sweeps: int) -> dict[str, float]:
    power = cast("PowerPoller", registry.power(nodes[0]))
    IO.submit(sweep(power, []), "start").result(10)
    before_kib, cold = rss_kib(), time.process_time()
    targets = [power.target(one) for one in nodes]
    IO.submit(sweep(power, targets), "cold").result(LIMIT_S)
    cold_ms = (time.process_time() - cold) * 1e3 / len(nodes)
    warm: list[float] = []
    for _ in range(sweeps):
        began = time.process_time()
        IO.submit(sweep(power, targets), "warm").result(LIMIT_S)
        warm.append((time.process_time() - began) * 1e3 / len(nodes))
    return {
        "CPU ms, warm poll": statistics.median(warm),
        "CPU ms, cold poll and login": cold_ms,
        "RSS KiB per BMC": (rss_kib() - before_kib) / len(nodes),
    }


async def _stream(
    one: Node, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    known = account(one)
    basic = base64.b64encode(f"{known.username}:{known.password}".encode()).decode()
    request = f"GET {SYSTEM} HTTP/1.1\r\nHost: {known.authority}\r\nAuthorization: Basic {basic}\r\n\r\n".encode()
    return *await asyncio.open_connection(known.host, known.port, ssl=context), request


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
    assert msgspec.json.decode(await reader.readexactly(int(fields[b"content-length"])), type=Said).PowerState


class Said(msgspec.Struct):
    """What the poll wants most."""

    PowerState: str


def of_streams(nodes: list[Node], sweeps: int) -> dict[str, float]:
    """The least that asyncio's own transports can do it with: no login, no errors, no deadline, no turns."""
    verify = account(nodes[0]).verify
    context = tls.context(verify) if isinstance(verify, str) else None

    async def main() -> dict[str, float]:
        before_kib, warm = rss_kib(), []
        streams = [await _stream(one, context) for one in nodes]
        for _ in range(sweeps + 1):
            began = time.process_time()
            for start in range(0, len(streams), IN_FLIGHT):
                await asyncio.gather(*(_ask(*stream) for stream in streams[start : start + IN_FLIGHT]))
            warm.append((time.process_time() - began) * 1e3 / len(nodes))
        rss = (rss_kib() - before_kib) / len(nodes)
        for _, writer, _ in streams:
            writer.transport.abort()
        return {"CPU ms, warm poll": statistics.median(warm[1:]), "RSS KiB per BMC": rss}

    return asyncio.run(main())


def of_readers(nodes: list[Node], sweeps: int) -> dict[str, float]:
    """The floor of any poll on asyncio's loop: a send and a recv, and nothing is read of the answer. Plain HTTP.

    Besides, twenty on each tick of 100 ms, as a fleet's turns come: in between the processor does other things.
    """

    async def main() -> dict[str, float]:
        socks = []
        for one in nodes:
            _, writer, request = await _stream(one, None)
            socks.append((writer.get_extra_info("socket").dup(), request))
            writer.transport.abort()
        warm = [await _bare_sweep(socks, IN_FLIGHT, 0) for _ in range(sweeps + 1)]
        turns = [await _bare_sweep(socks, 20, 0.1) for _ in range(3)]
        return {"CPU ms, warm poll": statistics.median(warm[1:]), "CPU ms, in turns": statistics.median(turns)}

    return asyncio.run(main())


async def _bare_sweep(socks: list[tuple[socket.socket, bytes]], at_once: int, pause_s: float) -> float:
    loop, answered = asyncio.get_running_loop(), asyncio.Semaphore(0)

    def readable(sock: socket.socket) -> None:
        sock.recv(65536)
        answered.release()

    for sock, _ in socks:
        loop.add_reader(sock.fileno(), readable, sock)
    began = time.process_time()
    for start in range(0, len(socks), at_once):
        for sock, request in socks[start : start + at_once]:
            sock.send(request)
        await asyncio.sleep(pause_s)
    for _ in socks:
        await answered.acquire()
    return (time.process_time() - began) * 1e3 / len(socks)


def of_blocking(nodes: list[Node], sweeps: int) -> dict[str, float]:
    """`read` through sushy or pyghmi, in threads."""
    nodes, power = nodes[:BLOCKING_BMCS], registry.power(nodes[0])

    def read(one: Node) -> None:
        assert power.read(one, Deadline(CLOCK, 60)).power is not None

    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        before_kib = rss_kib()
        list(threads.map(read, nodes))
        warm: list[float] = []
        for _ in range(sweeps):
            began = time.process_time()
            list(threads.map(read, nodes))
            warm.append((time.process_time() - began) * 1e3 / len(nodes))
        rss = (rss_kib() - before_kib) / len(nodes)
    return {"CPU ms, warm poll": statistics.median(warm), "RSS KiB per BMC": rss}


def of_ironic(nodes: list[Node], sweeps: int, *, repaired: bool) -> dict[str, float]:
    """Ironic's `RedfishPower.get_power_state`; `repaired`: without the hash of the password that each call makes."""
    nodes = nodes[: BLOCKING_BMCS if repaired else IRONIC_BMCS]
    asked = {
        "driver_info": [one.driver_info for one in nodes], "threads": THREADS, "repaired": repaired,
        "sweeps": sweeps if repaired else 1,
    }  # fmt: skip
    done = subprocess.run(
        [str(Path(os.environ[IRONIC]) / "bin/python"), str(Path(__file__).with_name("ironic_poll.py"))],
        input=json.dumps(asked) + "\n", stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    return {"CPU ms, warm poll": json.loads(done.stdout)}


KINDS = {"poller": of_poller, "asyncio streams": of_streams, "blocking": of_blocking}
FLOOR = {"asyncio readers": of_readers}
IPMI = {"IPMI, new sessions": of_poller, "IPMI, kept sessions": of_poller, "IPMI, blocking": of_blocking}
PEER = {
    "Ironic": functools.partial(of_ironic, repaired=False),
    "Ironic, no hash": functools.partial(of_ironic, repaired=True),
}
WAYS = [*(f"{kind}{suffix}" for suffix in ("", ", TLS") for kind in KINDS), *FLOOR, *IPMI]
PEERS = [f"{kind}{suffix}" for suffix in ("", ", TLS") for kind in PEER]


def measure(way: str, bmcs: int, sweeps: int) -> dict[str, float]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for driver in ("redfish", "ipmi"):
        registry.properties(driver)
    config.load([], program="polling", files=[])
    return of_ipmi(way, bmcs, sweeps) if way in IPMI else of_redfish(way, bmcs, sweeps)


def of_redfish(way: str, bmcs: int, sweeps: int) -> dict[str, float]:
    config.CONF.set_override("connection_cache_size", bmcs, group="redfish")
    with tempfile.TemporaryDirectory() as directory:
        ca_file = Path(directory) / "ca.pem" if way.endswith(", TLS") else None
        with fleet(bmcs, *([f"--tls={ca_file}"] if ca_file else [])) as found:
            nodes = [node(number, bmc["url"], ca_file) for number, bmc in enumerate(found)]
            return (KINDS | FLOOR | PEER)[way.removesuffix(", TLS")](nodes, sweeps)


def of_ipmi(way: str, bmcs: int, sweeps: int) -> dict[str, float]:
    if way == "IPMI, new sessions":
        config.CONF.set_override("session_reuse_interval", 0, group="ipmi")
    with fleet(0, f"--ipmi-size={bmcs}") as found:
        return IPMI[way]([ipmi_node(number, bmc) for number, bmc in enumerate(found)], sweeps)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--bmcs", type=int, default=1000)
    args.add_argument("--sweeps", type=int, default=10)
    args.add_argument("--only", choices=WAYS, help="this way alone")
    args.add_argument("--ironic", type=Path, help="a virtual environment that holds Ironic")
    args.add_argument("--way", choices=[*WAYS, *PEERS], help=argparse.SUPPRESS)
    asked: Any = args.parse_args()
    if asked.ironic:
        os.environ[IRONIC] = str(asked.ironic)
    if asked.way:
        print(json.dumps(measure(asked.way, asked.bmcs, asked.sweeps)))
        return
    print(f"{asked.bmcs} BMCs that answer in {LATENCY_S} s, median of {asked.sweeps} sweeps")
    for way in [asked.only] if asked.only else [*WAYS, *(PEERS if asked.ironic else [])]:
        done = subprocess.run(
            [sys.executable, __file__, "--way", way, f"--bmcs={asked.bmcs}", f"--sweeps={asked.sweeps}"],
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        for name, value in json.loads(done.stdout).items():
            print(f"  {way:22} {name:30} {value:9.3f}")


if __name__ == "__main__":
    main()
