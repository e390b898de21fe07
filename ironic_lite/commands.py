"""The commands: what they read, what they run.

`ironic-lite` runs everything on this host: a launcher, an API process and a conductor process. `ironic-lite-api` and
`ironic-lite-conductor` run one service, `ironic-lite-dbsync` makes and upgrades the schema.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from ironic_lite import config, errors, log, options
from ironic_lite.api.process import ApiService
from ironic_lite.api.process import conf as api_conf
from ironic_lite.api.workers import ADDRESS as SIBLINGS_ADDRESS
from ironic_lite.api.workers import Siblings
from ironic_lite.cluster.transport import Credentials, configured_credentials, one_time_credentials
from ironic_lite.cluster.transport import conf as rpc_conf
from ironic_lite.conductor.process import ConductorService
from ironic_lite.conductor.statistics import conf as statistics_conf
from ironic_lite.db import migrate
from ironic_lite.db.engine import Database, database_url
from ironic_lite.executors import surroundings
from ironic_lite.launcher.alone import run_alone
from ironic_lite.launcher.child import Supervised, end, guarded
from ironic_lite.launcher.handover import Program, receive
from ironic_lite.launcher.once import run_once
from ironic_lite.launcher.service import ChildSpec, configured_limits
from ironic_lite.launcher.service import conf as launcher_conf
from ironic_lite.launcher.supervisor import Supervisor
from ironic_lite.web.listeners import listen

LOG = logging.getLogger(__name__)

UPGRADE_TIMEOUT_S = 600.0
API_STOP_TIMEOUT_S = 5.0
API_STAGE, CONDUCTOR_STAGE = 0, 1  # at the end: first nobody asks for more, then what was asked for ends
CONDUCTOR = "conductor"
CHILD_WORD = "child"
DBSYNC_WORDS = ("upgrade", "create_schema", "version")
DBSYNC_USAGE = """\
usage: ironic-lite-dbsync [options] [upgrade | create_schema | version]

  upgrade         bring the schema to what this version needs, making what is missing (the default)
  create_schema   the same; the name that Ironic has for the first time
  version         print the schema's revision
"""


def ironic_lite() -> NoReturn:
    """Everything on this host."""
    _run("ironic-lite", _all_in_one)


def ironic_lite_child(arguments: Sequence[str]) -> NoReturn:
    """One process of an all-in-one that starts them by exec; the first argument is what its launcher hands over."""
    number, *rest = arguments or [""]
    _run("ironic-lite", lambda: guarded(lambda: _child(number)), rest)


def ironic_lite_api() -> NoReturn:
    """One API process."""
    _run("ironic-lite-api", _api_alone)


def ironic_lite_conductor() -> NoReturn:
    """One conductor process."""
    _run("ironic-lite-conductor", _conductor_alone)


def ironic_lite_dbsync() -> NoReturn:
    """The schema."""
    arguments = sys.argv[1:]
    words = [word for word in arguments if word in DBSYNC_WORDS]
    if {"-h", "--help"} & set(arguments):
        print(DBSYNC_USAGE)
    _run("ironic-lite-dbsync", lambda: _sync(words), [word for word in arguments if word not in words])


def _run(program: str, work: Callable[[], int], arguments: Sequence[str] | None = None) -> NoReturn:
    """Read the options, do the work, end with its code; an error of configuration is one line on stderr."""
    log.register()
    options.declare()
    try:
        config.load(sys.argv[1:] if arguments is None else arguments, program=program)
        log.setup(program)
        config.warn_of_unknown()
        surroundings.allow_open_files()
        code = work()
    except errors.Error as exc:
        print(f"{program}: {exc}", file=sys.stderr)
        code = 1
    end(code)


class Told(msgspec.Struct, frozen=True):
    """What every child of one launcher is told.

    `metrics_ports`: where each API process answers the others, by its name; empty when there is only one.
    """

    credentials: Credentials
    metrics_ports: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Told({self.credentials!r}, {self.metrics_ports!r})"


def _all_in_one() -> int:
    _prepare_schema()
    rpc_listener, api_listener, metrics_listener = _rpc_listener(), _api_listener(), _metrics_listener()
    workers = [f"api-{number + 1}" for number in range(api_conf.api_workers)]
    asked = {name: listen(SIBLINGS_ADDRESS, 0) for name in workers} if len(workers) > 1 else {}
    told = Told(one_time_credentials(), {name: listener.getsockname()[1] for name, listener in asked.items()})
    children = (
        _conductor_spec(told, rpc_listener, metrics_listener, after_api=True),
        *(_api_spec(name, told, api_listener, asked.get(name)) for name in workers),
    )
    program = Program(_child_command, msgspec.json.encode(told).decode())
    by_exec = launcher_conf.start_method == "exec"
    return Supervisor(children, configured_limits(), program=program if by_exec else None).run()


def _child_command(handover: int) -> list[str]:
    """Our interpreter and arguments. `-m` looks into the working directory first: `-P` forbids it unless we do so."""
    here = {"", str(Path.cwd())} & {*sys.path}
    return [sys.executable, *([] if here else ["-P"]), "-m", "ironic_lite", CHILD_WORD, str(handover), *sys.argv[1:]]


def _child(number: str) -> int:
    handover = receive(number)
    listener, *more = handover.sockets()
    asked = more[0] if more else None
    told = msgspec.json.decode(handover.secret, type=Told)
    if handover.name == CONDUCTOR:
        spec = _conductor_spec(told, listener, asked, after_api=True)
    else:
        spec = _api_spec(handover.name, told, listener, asked)
    return Supervised(spec.make, handover.limits, status=handover.status, lifeline=handover.lifeline).run()


def _api_alone() -> int:
    told = Told(configured_credentials())
    return run_alone(_api_spec("api", told, _api_listener()), configured_limits())


def _conductor_alone() -> int:
    told = Told(configured_credentials())
    return run_alone(_conductor_spec(told, _rpc_listener(), _metrics_listener()), configured_limits())


def _api_listener() -> socket.socket:
    return listen(api_conf.host_ip, api_conf.port)


def _rpc_listener() -> socket.socket:
    return listen(rpc_conf.host_ip, rpc_conf.port)


def _metrics_listener() -> socket.socket | None:
    """The conductor's; a port that is taken costs the metrics, not the service: nobody may have asked for them."""
    if not statistics_conf.metrics_port:
        return None
    try:
        return listen(statistics_conf.metrics_host_ip, statistics_conf.metrics_port)
    except errors.ConfigurationError as exc:
        LOG.warning("The conductor's /metrics are not served: %s Set [conductor]metrics_port to another, or 0.", exc)
        return None


def _api_spec(name: str, told: Told, listener: socket.socket, asked: socket.socket | None = None) -> ChildSpec:
    siblings = Siblings(asked, told.metrics_ports) if asked else None
    return ChildSpec(
        name,
        lambda: ApiService(
            listener, told.credentials, grace_s=API_STOP_TIMEOUT_S, name=name, siblings=siblings
        ).prepare(),
        (listener, *([asked] if asked else [])),
        API_STAGE,
    )


def _conductor_spec(
    told: Told, listener: socket.socket, metrics_listener: socket.socket | None, *, after_api: bool = False
) -> ChildSpec:
    before_s = 2 * API_STOP_TIMEOUT_S if after_api else 0.0
    stop_timeout_s = max(1.0, launcher_conf.graceful_shutdown_timeout - before_s)
    api_threads = (api_conf.threads,) * api_conf.api_workers if after_api else ()

    def make() -> ConductorService:
        made = ConductorService(
            listener, told.credentials, stop_timeout_s, api_threads=api_threads, metrics_listener=metrics_listener
        )
        return made.prepare()

    listeners = (listener, *([metrics_listener] if metrics_listener else []))
    return ChildSpec(CONDUCTOR, make, listeners, CONDUCTOR_STAGE)


def _prepare_schema() -> None:
    """Make or upgrade SQLite's file in a child that ends; other databases are upgraded by `ironic-lite-dbsync`."""
    url = database_url()
    if url.get_backend_name() != "sqlite":
        return
    migrate.prepare_directory(url)
    database = Database(url)
    current = migrate.version(database) == migrate.HEAD
    database.dispose()
    if not current:
        run_once("The upgrade of the database", lambda: migrate.upgrade(url), UPGRADE_TIMEOUT_S)


def _sync(words: list[str]) -> int:
    url = database_url()
    if words == ["version"]:
        print(migrate.version(Database(url)) or "no schema")
    elif len(words) > 1:
        raise errors.ConfigurationError(reason=f"Give one command, not {len(words)}: {', '.join(words)}.")
    else:
        migrate.upgrade(url)
        print(f"The schema is at {migrate.HEAD}.")
    return 0
