"""The conductor as a service: what it is made of, in which order it starts and stops.

Guarantees: start: the locks of an earlier life are freed before JSON-RPC listens, and JSON-RPC serves before the
cluster is told of it, so that no call meets a half-made conductor. Stop, under one deadline: no new work (cluster,
agenda, JSON-RPC), then the running work has until shortly before the deadline to end by itself, then it is
interrupted, and child programs that still run are ended, then its locks are freed with the reason; the heartbeat goes
on, with online = 0, until the end, so that nobody takes over nodes that are still worked on. A drain is the first step
of a stop without the rest. Metrics are served until the end, so that it can be watched.
"""

from __future__ import annotations

import gc
import logging
import socket
from typing import Self

# From `backend.base`: `oslo_service.service` would choose the eventlet backend at import.
from oslo_service.backend.base import ServiceBase

from ironic_lite import errors
from ironic_lite.clock import Clock, Deadline, SystemClock
from ironic_lite.cluster import rpc
from ironic_lite.cluster.members import Members, heartbeat_conf
from ironic_lite.cluster.transport import MAX_BODY_KIB, Application, Credentials, configured_identity
from ironic_lite.cluster.transport import conf as rpc_conf
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.conductor import (
    allocations,
    boot,
    kinds,
    management,
    modes,
    notifications,
    power,
    provision,
    recovery,
    sensors,
    sightings,
    statistics,
    subscriptions,
    survey,
    validation,
)
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.schedule import Schedule
from ironic_lite.config import Host, Section, Str, Strings
from ironic_lite.db import conductors, migrate
from ironic_lite.db.conductors import Drivers
from ironic_lite.db.engine import open_database
from ironic_lite.drivers import registry
from ironic_lite.drivers.tools import TOOLS
from ironic_lite.executors.agenda import Agenda
from ironic_lite.executors.recurring import Recurring
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.web.limits import Limits
from ironic_lite.web.server import Server
from ironic_lite.web.tls import TLS

LOG = logging.getLogger(__name__)

# Importing these modules is what makes their functions callable; the tuple says so to readers and linters.
METHODS = (
    allocations, boot, management, modes, power, provision, sensors, sightings, statistics, subscriptions, validation,
)  # fmt: skip
INTERRUPT_BEFORE_S = 5.0
# Thousands of questions in flight are young objects that live for a second: Python's default of 700 looks through them
# again and again, for a fifth of a poll's CPU (docs/adr/0007).
COLLECTED_AFTER = (20_000, 20, 50)
RPC_DRAIN_S = 5.0
METRICS_DRAIN_S = 0.5
POOL_STUCK_AFTER_S = 900.0  # full, and nothing ended: longer than any work may take (soft_power_off_timeout)


class default_conf(Section, name="DEFAULT"):
    """Who this conductor is, and what it can drive."""

    host = Host(socket.gethostname(), sample_default="localhost", help="Name of this conductor, unique in the cluster.")
    enabled_hardware_types = Strings(["ipmi", "redfish"], help="Hardware types that this conductor serves.")


class conf(Section, name="conductor"):
    """The conductor's frame."""

    conductor_group = Str("", help="Conductor group that this conductor serves; lower case.")


class ConductorService(ServiceBase):  # type: ignore[misc]  # oslo.service has no types
    """One conductor, to oslo.service's contract: start, stop, wait, reset."""

    def __init__(
        self,
        listener: socket.socket,
        credentials: Credentials,
        stop_timeout_s: float,
        *,
        api_threads: tuple[int, ...] = (),
        metrics_listener: socket.socket | None = None,
    ) -> None:
        """`stop` ends within `stop_timeout_s` and a few seconds.

        `api_threads` are those of each API process that shares this one's limits; only advice asks. Without a listener
        for them no metrics are served.
        """
        self._listener, self._credentials, self._stop_timeout_s = listener, credentials, stop_timeout_s
        self._api_threads, self._metrics_listener = api_threads, metrics_listener
        self._clock: Clock = SystemClock()
        self._online, self._keeps_registration, self._quiet = True, False, False
        self._prepared = False

    def prepare(self) -> Self:
        """Make what a fork can share, as nothing of it is open yet. Raises `ConfigurationError`.

        Not a part of the making: what is prepared cannot be pickled for another process.
        """
        self._drivers = enabled_drivers()
        self._sinks = notifications.sinks(default_conf.host)
        self._database = open_database()
        self._prepared = True
        return self

    def start(self) -> None:
        """Serve. Raises `ConfigurationError` or `DatabaseUnavailable` when that is not possible."""
        if not self._prepared:
            self.prepare()
        gc.set_threshold(*COLLECTED_AFTER)
        host, drivers, database = default_conf.host, self._drivers, self._database
        url = rpc_url(self._listener)
        self._identity = TLS(configured_identity()) if rpc_conf.use_ssl else None
        migrate.demand_current(database)
        freed = recovery.free_locks(database, host, recovery.AT_START)
        if freed:
            LOG.warning("%d locks of an earlier life of conductor %s were freed.", freed, host)
        table = kinds.kinds()
        pool = TaskPool("conductor", kinds.conf.workers_pool_size, table, self._clock, reserved=kinds.reserved())
        LOG.info("Conductor %s has %s.", host, kinds.described(table))
        agenda = Agenda("agenda", pool, self._clock, at=host)
        self._conductor = Conductor(host, database, Members(database, self._clock), pool, agenda, self._clock)
        TOOLS.programs = self._conductor.programs
        self._collector = sensors.Collector(
            self._conductor.sensors, notifications.Notifier(pool, self._sinks), self._clock
        )
        self._schedule = Schedule(self._conductor, self._collector)
        bmc_waits = BMCWaits(f"Conductor {host}", rpc_conf.threads)
        self._rpc = Server(
            "json-rpc",
            self._listener,
            Application(rpc.Dispatcher(self._conductor, bmc_waits), self._credentials),
            threads=rpc_conf.threads,
            limits=Limits(body_kib=MAX_BODY_KIB),
            identity=self._identity,
        )
        self._conductor.servers.append(self._rpc)
        self._rpc.start()
        self._metrics = None
        if self._metrics_listener:
            self._metrics = statistics.metrics_server(
                self._conductor, self._collector, self._metrics_listener, bmc_waits
            )
            self._metrics.start()
        self._begin(conductors.Conductor(host, url, conf.conductor_group.lower(), drivers))
        LOG.info("Conductor %s serves %s.", host, ", ".join(sorted(drivers)))
        survey.begin(self._conductor, self._api_threads)

    def _begin(self, row: conductors.Conductor) -> None:
        """Tell the cluster, and take up what is ours."""
        database, agenda = self._conductor.database, self._conductor.agenda
        conductors.register(database, row)
        self._beaten_at = self._moved_at = self._clock.monotonic()
        self._executed = 0
        agenda.start()
        # In the agenda's own thread: it must beat however full the pool is, and is bounded by the database's deadlines.
        agenda.repeat(Recurring("heartbeat", lambda: heartbeat_conf.heartbeat_interval, self._heartbeat, kind=None))
        recovery.take_up_stranded(self._conductor)
        allocations.resume(self._conductor)
        rows = (*self._schedule.rows(), statistics.Diary(self._conductor).row())
        for work in (*rows, allocations.left_behind(self._conductor)):
            agenda.repeat(work)
        self._schedule.start()

    def stop(self) -> None:
        """End, with running work given its time."""
        deadline = Deadline(self._clock, self._stop_timeout_s)
        database, pool, programs = self._conductor.database, self._conductor.pool, self._conductor.programs
        self._take_no_more_work(deadline)
        working = pool.drain(Deadline(self._clock, max(0.0, deadline.left_s() - INTERRUPT_BEFORE_S)))
        if working:
            self._conductor.interrupted.set()
        left = programs.stop_all(deadline) + (pool.drain(deadline) if working else [])
        if left:
            LOG.error("Given up because time to stop is over: %s.", ", ".join(left))
        try:
            recovery.free_locks(database, self._conductor.host, recovery.AT_STOP)
        except errors.DatabaseUnavailable as exc:
            LOG.error("Locks could not be freed, and are at the next start: %s", exc)  # noqa: TRY400  # no trace needed
        self._conductor.agenda.stop(Deadline(self._clock, 5))
        registry.close_all(Deadline(self._clock, 5))
        if self._metrics:
            self._metrics.drain(METRICS_DRAIN_S)
        database.dispose()

    def wait(self) -> None:
        """Nothing is left to wait for when `stop` returns."""

    def reset(self) -> None:
        """Take over how many of each kind may run, and read the certificate again; other options are read live."""
        if self._identity is not None:
            self._identity.reload()
        table = kinds.kinds()
        self._conductor.pool.set_caps(table)
        LOG.info("Conductor %s has %s.", self._conductor.host, kinds.described(table))
        survey.begin(self._conductor, self._api_threads)

    def drain(self) -> None:
        """Take no more work; the heartbeat and what runs go on. Bounded as `stop` is."""
        self._take_no_more_work(Deadline(self._clock, self._stop_timeout_s))

    def is_busy(self) -> bool:
        """Whether a worker is at work."""
        pool = self._conductor.pool.stats()
        return pool.busy + pool.lent > 0

    def moves(self) -> bool:
        """Whether the cluster heard of us lately, JSON-RPC's serving thread turns, and work ends or finds a worker."""
        now, pool = self._clock.monotonic(), self._conductor.pool.stats()
        if pool.executed != self._executed or pool.busy < pool.limit:
            self._executed, self._moved_at = pool.executed, now
        beats = now - self._beaten_at < heartbeat_conf.heartbeat_timeout
        return self._rpc.moves() and beats and now - self._moved_at < POOL_STUCK_AFTER_S

    def keep_registration(self) -> None:
        """Stay online for the cluster at the next stop: this conductor comes back soon, and its nodes wait for it."""
        self._keeps_registration = True

    def _take_no_more_work(self, deadline: Deadline) -> None:
        if self._quiet:
            return
        self._quiet = True
        self._online = self._keeps_registration
        self._heartbeat_once()
        self._conductor.agenda.close()
        self._schedule.stop()
        self._rpc.drain(min(RPC_DRAIN_S, deadline.left_s()))

    def _heartbeat(self) -> None:
        if not conductors.heartbeat(self._conductor.database, self._conductor.host, online=self._online):
            raise errors.ConductorNotFound(conductor=self._conductor.host)
        self._beaten_at = self._clock.monotonic()

    def _heartbeat_once(self) -> None:
        try:
            self._heartbeat()
        except (errors.Unavailable, errors.ConductorNotFound) as exc:
            LOG.warning("The cluster can't be told that this conductor stops: %s", exc)


def enabled_drivers() -> Drivers:
    """The enabled hardware types with the names of their interfaces. Raises `ConfigurationError` for unknown ones."""
    try:
        types = [registry.load(name) for name in default_conf.enabled_hardware_types]
    except errors.DriverNotFound as exc:
        known = ", ".join(one.name for one in registry.HARDWARE_TYPES)
        reason = f"[DEFAULT]enabled_hardware_types: {exc} Known are: {known}."
        raise errors.ConfigurationError(reason=reason) from exc
    return {one.name: {kind: list(names) for kind, names in one.interfaces.items()} for one in types}


def rpc_url(listener: socket.socket) -> str:
    """Where the APIs reach this conductor. Raises `ConfigurationError` for a URL by which it cannot be reached."""
    if rpc_conf.advertised_url:
        return _checked(rpc_conf.advertised_url)
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = default_conf.host
    scheme = "https" if rpc_conf.use_ssl else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _checked(url: str) -> str:
    """A proxy in between may speak HTTPS for us; nobody may speak HTTP to an HTTPS port, least of all credentials."""
    allowed = ("https://",) if rpc_conf.use_ssl else ("http://", "https://")
    if not url.startswith(allowed):
        reason = f"[json_rpc]advertised_url must begin with {' or '.join(allowed)}: {url!r} does not."
        raise errors.ConfigurationError(reason=reason)
    return url
