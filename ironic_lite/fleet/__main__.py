"""`python -m ironic_lite.fleet`: simulated Redfish BMCs in a process of their own."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import stat
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from ironic_lite.fleet.faults import Kind
from ironic_lite.fleet.quirks import Quirk
from ironic_lite.fleet.server import FIRST_ADDRESS, Fleet

PASSWORD_VARIABLE: Final = "IRONIC_LITE_FLEET_PASSWORD"  # noqa: S105  # the name of a variable, not a password

_EPILOG: Final = f"""
When every BMC listens, one line of JSON is printed: {{"bmcs": [{{"address", "port", "url", "serial"}}, ...]}}.
The fleet ends at SIGTERM, at SIGINT, and when its standard input is a pipe or a socket that is closed.

  curl -u admin:password http://127.77.0.1:PORT/redfish/v1/Systems/1
  curl -u admin:password http://127.77.0.1:PORT/fleet/counts
  curl -u admin:password http://127.77.0.1:PORT/fleet/faults -d '{{"fault": "slow", "seconds": 2, "times": 3}}'

Faults are {", ".join(Kind)}; {{"script": [...]}} gives several, one after the other, and DELETE ends them.
Vendors' quirks, set by PUT /fleet/quirks {{"quirks": [...]}}, are {", ".join(Quirk)}.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    args = argparse.ArgumentParser(
        prog="python -m ironic_lite.fleet",
        description="Simulate Redfish BMCs, each at its own address of 127.0.0.0/8 and all on one port.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    args.add_argument("--size", type=int, default=6, help="how many BMCs (default 6)")
    args.add_argument(
        "--first-address", default=FIRST_ADDRESS, help=f"address of the first one (default {FIRST_ADDRESS})"
    )
    args.add_argument("--port", type=int, default=0, help="TCP port of all of them; 0, the default, picks a free one")
    args.add_argument("--username", default="admin", help="their account (default admin)")
    args.add_argument(
        "--password",
        default=os.environ.get(PASSWORD_VARIABLE, "password"),
        help=f'its password (default: the environment variable {PASSWORD_VARIABLE}, or else "password")',
    )
    args.add_argument(
        "--seed", type=int, default=0, help="what serial numbers and sensors are derived from (default 0)"
    )
    args.add_argument("--power-delay", type=float, default=2.0, help="seconds that power takes to change (default 2)")
    args.add_argument("--latency", type=float, default=0.0, help="seconds that every answer takes (default 0)")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end. 0, or 2 when the addresses or the port cannot be used."""
    args = parser().parse_args(arguments)
    _allow_many_sockets()
    try:
        fleet = Fleet(
            args.size,
            first_address=args.first_address,
            port=args.port,
            username=args.username,
            password=args.password,
            seed=args.seed,
            power_delay_s=args.power_delay,
            latency_s=args.latency,
        )
        asyncio.run(_serve(fleet))
    except (ValueError, OSError) as exc:
        print(f"The fleet cannot start: {exc}", file=sys.stderr)  # noqa: T201  # a program's own output
        return 2
    return 0


def _allow_many_sockets() -> None:
    """Raise the limit of open files as far as this user may: a client's connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(fleet: Fleet) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if sys.stdin is not None and _is_lifeline(sys.stdin.fileno()):
        loop.add_reader(sys.stdin.fileno(), _read_lifeline, sys.stdin.fileno(), ended)
    try:
        await fleet.start()
        print(json.dumps({"bmcs": [asdict(bmc) for bmc in fleet.bmcs]}), flush=True)  # noqa: T201  # see above
        await ended.wait()
    finally:
        await fleet.stop()


def _is_lifeline(descriptor: int) -> bool:
    """Whether the other end can be closed: not so for a terminal in the background, or for /dev/null."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _read_lifeline(descriptor: int, ended: asyncio.Event) -> None:
    if not os.read(descriptor, 4096):
        asyncio.get_running_loop().remove_reader(descriptor)
        ended.set()


if __name__ == "__main__":
    sys.exit(main())
