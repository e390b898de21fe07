"""`ironic-lite demo`: the service and a simulated fleet on this machine alone, for a look."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.demo import bmcs, screen, service
from ironic_lite.demo.children import Child, running
from ironic_lite.demo.client import Client
from ironic_lite.demo.ending import Ending, EndRequested
from ironic_lite.demo.failure import DemoFailed, ServiceSilent
from ironic_lite.demo.screen import Row
from ironic_lite.demo.watch import Watch
from ironic_lite.fleet.server import Bmc

NODES_MAX: Final = 200
ENROL_S: Final = 120.0
LOOK_EVERY_S: Final = 1.0
SUMMARY_EVERY_S: Final = 10.0


def run(arguments: Sequence[str]) -> int:
    """Run the demo until Ctrl-C, SIGTERM or --seconds. 0, or 1 when it failed; nothing is left behind either way."""
    args = _parser().parse_args(arguments)
    try:
        with Ending() as ending:
            _run(args, ending)
    except EndRequested:
        _say("Ended.")
    except (DemoFailed, OSError) as exc:  # OSError: a full disk, or a terminal that is gone
        with contextlib.suppress(OSError):
            print(f"The demo ended: {exc}", file=sys.stderr)  # noqa: T201  # a program's own output
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ironic-lite demo",
        description="Run the service over simulated Redfish machines, all on 127.0.0.0/8, and show what it sees.",
    )
    parser.add_argument("--nodes", type=_whole(1, NODES_MAX), default=6, help="how many machines (default 6)")
    parser.add_argument("--seconds", type=float, help="end after that many seconds of showing (default: at Ctrl-C)")
    parser.add_argument("--api-port", type=_whole(0, 65535), default=6385, help="the API's port; 0 picks a free one")
    parser.add_argument(
        "--state-dir", type=Path, help="an empty directory to keep database and logs in (default: one that is removed)"
    )
    return parser


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}.")
        return int(text)

    return parse


def _run(args: argparse.Namespace, ending: Ending) -> None:
    with contextlib.ExitStack() as stack:  # left in the opposite order: service, fleet, directory
        directory = stack.enter_context(_state_directory(args.state_dir))
        port = service.choose_port(args.api_port)
        client = Client(service.ADDRESS, port)
        _say(f"Starting {args.nodes} simulated machines and the service (port {port}) ...")
        fleet = stack.enter_context(running(bmcs.start(directory, args.nodes), bmcs.STOP_S))
        machines = bmcs.wait_until_ready(fleet, ending)
        served = stack.enter_context(running(service.start(directory, port), service.STOP_S))
        service.wait_until_ready(served, client, ending)
        watch = Watch(client, SystemClock())
        _enrol(machines, client, ending)
        _wait_until_manageable(watch, ending, (fleet, served))
        curl = f"curl -u {bmcs.USERNAME}:{bmcs.PASSWORD} {machines[0].url}"
        _say(screen.next_steps(client.url, _name(0), curl))
        _show(watch, ending, (fleet, served), args.seconds)
        _say("Ending ...")


@contextlib.contextmanager
def _state_directory(wanted: Path | None) -> Iterator[Path]:
    """The directory of the demo's files: the caller's own, which stays, or one that is removed."""
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        if any(wanted.iterdir()):
            raise DemoFailed(reason=f"The directory {wanted} of --state-dir is not empty.")
        yield wanted.absolute()
        return
    directory = Path(tempfile.mkdtemp(prefix="ironic-lite-demo-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _name(index: int) -> str:
    return f"demo-{index + 1}"


def _enrol(machines: Sequence[Bmc], client: Client, ending: Ending) -> None:
    """One node for each machine, on its way to be manageable."""
    for index, bmc in enumerate(machines):
        client.create(_name(index), bmcs.driver_info(bmc))
        client.manage(_name(index))
        ending.pause(0)


def _wait_until_manageable(watch: Watch, ending: Ending, children: Sequence[Child]) -> None:
    """Tell what changes until every node is manageable. Raises `DemoFailed` after `ENROL_S`."""
    deadline = Deadline(SystemClock(), ENROL_S)
    while True:
        for line in watch.look():
            _say(line)
        if failed := [one for one in watch.rows.values() if one.provision == "enroll" and one.error]:
            raise DemoFailed(reason=f"Node {failed[0].name} is not manageable: {failed[0].error}")
        if all(one.provision == "manageable" for one in watch.rows.values()):
            return
        for child in children:
            child.check()
        if deadline.passed():
            raise DemoFailed(reason=f"Not every node is manageable after {ENROL_S:.0f} s.")
        ending.pause(0.3)


def _show(watch: Watch, ending: Ending, children: Sequence[Child], seconds: float | None) -> None:
    """The state of the nodes, live, until the end is asked for or `seconds` have passed."""
    show = _Terminal() if sys.stdout.isatty() else _Lines()
    deadline = Deadline(SystemClock(), seconds) if seconds is not None else None
    while deadline is None or not deadline.passed():
        try:
            changes, notice = watch.look(), None
        except ServiceSilent as exc:
            changes, notice = [], str(exc)
        show.show(list(watch.rows.values()), changes, notice)
        for child in children:
            child.check()
        if ending.wait(LOOK_EVERY_S if deadline is None else min(LOOK_EVERY_S, deadline.left_s())):
            return


class _Terminal:
    """The table, redrawn in place."""

    def __init__(self) -> None:
        self._drawn = 0

    def show(self, rows: Sequence[Row], _changes: Sequence[str], notice: str | None) -> None:
        size = shutil.get_terminal_size()
        lines = (screen.table(rows, size.columns) + ([notice[: size.columns]] if notice else []))[: size.lines - 1]
        print(screen.redraw(lines, self._drawn), end="", flush=True)  # noqa: T201  # the demo's screen
        self._drawn = len(lines)


class _Lines:
    """A line for each change, and now and then a summary."""

    def __init__(self) -> None:
        self._summary = Deadline(SystemClock(), 0.0)

    def show(self, rows: Sequence[Row], changes: Sequence[str], notice: str | None) -> None:
        for line in [*changes, *([notice] if notice else [])]:
            _say(line)
        if self._summary.passed():
            _say(screen.summary(rows))
            self._summary = Deadline(SystemClock(), SUMMARY_EVERY_S)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a program's own output
