"""`ironic-lite-fleet`, or `python -m ironic_lite.fleet`: simulated BMCs in a process of their own."""

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
from pathlib import Path
from typing import Final

from ironic_lite.fleet import latency
from ironic_lite.fleet.device import Credentials
from ironic_lite.fleet.faults import Kind
from ironic_lite.fleet.latency import Latency
from ironic_lite.fleet.listeners import EACH_LISTENS_MAX, OWN_LISTENERS_MAX
from ironic_lite.fleet.orders import Order, read_script
from ironic_lite.fleet.outbox import RETRY_S
from ironic_lite.fleet.quirks import Quirk
from ironic_lite.fleet.server import Fleet
from ironic_lite.fleet.sessions import SLOTS
from ironic_lite.fleet.settings import FIRST_ADDRESS, Settings, SettingsError

PASSWORD_VARIABLE: Final = "IRONIC_LITE_FLEET_PASSWORD"  # noqa: S105  # the name of a variable, not a password

_OTHER_DESCRIPTORS: Final = 50
_EPILOG: Final = f"""
When every BMC listens, one line of JSON is printed (on a terminal, a summary of it):
{{"bmcs": [{{"address", "port", "url", "serial", "protocol"}}, ...], "control": URL}}.
The fleet ends at SIGTERM, at SIGINT, and when its standard input is a pipe or a socket that is closed.

Ask a BMC, as any client would:
  curl -u admin:password http://127.77.0.1:PORT/redfish/v1/Systems/1
  ipmitool -I lanplus -C 17 -H 127.77.0.7 -p PORT -U admin -P password power status

Rule one BMC over itself, or any of them at the control address:
  curl -u admin:password http://127.77.0.1:PORT/fleet/counts
  curl -u admin:password http://127.77.0.1:PORT/fleet/faults -d '{{"fault": "slow", "seconds": 2, "times": 3}}'
  curl -u admin:password 'CONTROL/ledger?address=127.77.0.7'
  curl -u admin:password CONTROL/orders -d '{{"bmcs": {{"share": 0.05}}, "faults": [{{"fault": "hang"}}]}}'
  curl -u admin:password CONTROL/report

A script gives such orders by itself, at so many seconds from the start:
  {{"orders": [{{"at": 30, "bmcs": {{"share": 0.2}}, "faults": [{{"fault": "blackhole"}}]}},
              {{"at": 90, "faults": []}}]}}

Faults are {", ".join(Kind)}.
Quirks are {", ".join(Quirk)}.
Everything is told in docs/fleet.md.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    args = argparse.ArgumentParser(
        prog="ironic-lite-fleet",
        description="Simulate Redfish and IPMI BMCs, each at its own address of 127.0.0.0/8, in one process.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_size(args)
    _add_place(args)
    _add_manners(args)
    return args


def _add_size(args: argparse.ArgumentParser) -> None:
    group = args.add_argument_group("how many")
    group.add_argument("--size", type=int, default=6, help="how many Redfish BMCs (default 6)")
    group.add_argument("--ipmi-size", type=int, default=0, help="how many IPMI BMCs, after them (default 0)")
    group.add_argument(
        "--own-listeners",
        type=int,
        default=0,
        help=f"with more than {EACH_LISTENS_MAX} Redfish BMCs one socket listens for all but the first so many, "
        f"at most {OWN_LISTENERS_MAX} (default 0), which can truly refuse and leave SYNs unanswered",
    )


def _add_place(args: argparse.ArgumentParser) -> None:
    group = args.add_argument_group("where")
    first = f"address of the first one (default {FIRST_ADDRESS})"
    group.add_argument("--first-address", default=FIRST_ADDRESS, help=first)
    group.add_argument("--port", type=int, default=0, help="TCP port of all; 0, the default, picks a free one")
    group.add_argument("--ipmi-port", type=int, default=0, help="UDP port of the IPMI BMCs; 0 picks a free one")
    group.add_argument("--control-port", type=int, default=0, help="port of the control address; 0 picks a free one")
    tls = "HTTPS instead of HTTP; the certificate of the CA that signed theirs is written to this file"
    group.add_argument("--tls", type=Path, metavar="CA_FILE", help=tls)


def _add_manners(args: argparse.ArgumentParser) -> None:
    group = args.add_argument_group("how they behave")
    group.add_argument("--username", default="admin", help="their account (default admin)")
    group.add_argument(
        "--password",
        default=os.environ.get(PASSWORD_VARIABLE, "password"),
        help=f'its password (default: the environment variable {PASSWORD_VARIABLE}, or else "password")',
    )
    seed = "what serial numbers, sensors, drawn latencies and shares are derived from (default 0)"
    group.add_argument("--seed", type=int, default=0, help=seed)
    delay = "seconds that power takes to change (default 2)"
    group.add_argument("--power-delay", type=float, default=2.0, metavar="SECONDS", help=delay)
    takes = f"what every answer takes: {latency.FORMS} (default 0)"
    group.add_argument("--latency", type=_latency, default=latency.NONE, metavar="LATENCY", help=takes)
    loss = "share of the IPMI datagrams, each way, that get lost (default 0)"
    group.add_argument("--loss", type=float, default=0.0, metavar="SHARE", help=loss)
    slots = f"sessions that a BMC holds at the same time (default {SLOTS})"
    group.add_argument("--session-slots", type=int, default=SLOTS, metavar="N", help=slots)
    retry = f"what passes before an event that could not be delivered is sent again (default {RETRY_S:.0f})"
    group.add_argument("--event-retry", type=float, default=RETRY_S, metavar="SECONDS", help=retry)
    group.add_argument("--script", type=Path, metavar="FILE", help="orders to carry out by themselves")


def _latency(text: str) -> Latency:
    try:
        return Latency.parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end. 0, or 2 when the settings, the addresses, the ports or the script cannot be used."""
    args = parser().parse_args(arguments)
    try:
        settings = _settings(args)
        _allow_descriptors(settings)
        orders = read_script(args.script) if args.script is not None else []
        fleet = Fleet(settings, progress=_tell_progress)
        for order in orders:
            order.choice.among(fleet.devices, args.seed)
        asyncio.run(_serve(fleet, orders))
    except (ValueError, OSError) as exc:
        _tell(f"The fleet cannot start: {exc}")
        return 2
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    return Settings(
        credentials=Credentials(args.username, args.password),
        size=args.size,
        ipmi_size=args.ipmi_size,
        first_address=args.first_address,
        port=args.port,
        ipmi_port=args.ipmi_port,
        control_port=args.control_port,
        seed=args.seed,
        power_delay_s=args.power_delay,
        latency=args.latency,
        loss=args.loss,
        session_slots=args.session_slots,
        own_listeners=args.own_listeners,
        event_retry_s=args.event_retry,
        ca_file=args.tls,
    )


def _allow_descriptors(settings: Settings) -> None:
    """Raise the limit of open files as far as this user may: a listener is one, and a client's connection.

    Raises `SettingsError` when the listeners alone need more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    needed = settings.listeners + _OTHER_DESCRIPTORS
    if needed > hard:
        raise SettingsError(f"{settings.listeners} listeners need {needed} open files; this user may have {hard}.")
    if needed + settings.size > hard:
        _tell(f"Not every BMC can have a client at the same time: this user may have {hard} open files.")


async def _serve(fleet: Fleet, orders: Sequence[Order]) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if sys.stdin is not None and _is_lifeline(sys.stdin.fileno()):
        loop.add_reader(sys.stdin.fileno(), _read_lifeline, sys.stdin.fileno(), ended)
    try:
        await fleet.start()
        for order in orders:
            loop.call_later(order.at_s, fleet.control.carry_out, order)
        _tell_places(fleet)
        await ended.wait()
    finally:
        await fleet.stop()


def _tell_places(fleet: Fleet) -> None:
    """Where everything is: in full for a program, the first and the last of each kind for a person."""
    if not sys.stdout.isatty():
        told = {"bmcs": [asdict(bmc) for bmc in fleet.bmcs], "control": fleet.control_url}
        print(json.dumps(told), flush=True)  # noqa: T201  # a program's own output
        return
    for protocol in dict.fromkeys(bmc.protocol for bmc in fleet.bmcs):
        urls = [bmc.url for bmc in fleet.bmcs if bmc.protocol == protocol]
        print(f"{len(urls)} {protocol} BMCs: {urls[0]} to {urls[-1]}", flush=True)  # noqa: T201  # see above
    print(f"They are ruled at {fleet.control_url}; Ctrl-C ends them.", flush=True)  # noqa: T201  # see above


def _tell_progress(made: int) -> None:
    _tell(f"{made} BMCs are made ...")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # a program's own output


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
