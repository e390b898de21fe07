"""The API as a service: what it is made of, in which order it starts and stops.

Guarantees: (1) nothing is opened before `start`, so that the object may be made before a fork; (2) `stop` takes no new
connections, lets running requests end within `grace_s`, and only then closes what they use; (3) `wait` returns when
that is done.
"""

from __future__ import annotations

import logging
import socket
import threading
from typing import Self

# From `backend.base`: `oslo_service.service` would choose the eventlet backend at import.
from oslo_service.backend.base import ServiceBase

from ironic_lite.api.app import application
from ironic_lite.api.body import conf as body_conf
from ironic_lite.api.workers import Siblings, Workers
from ironic_lite.clock import Clock, SystemClock
from ironic_lite.cluster.members import Members
from ironic_lite.cluster.transport import Conductors, Credentials
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.config import Bool, Host, Int, OptionalStr, Port, Section, Str
from ironic_lite.db import migrate
from ironic_lite.db.engine import open_database
from ironic_lite.metrics import Registry
from ironic_lite.usage import Process
from ironic_lite.web.limits import Limits
from ironic_lite.web.server import Server
from ironic_lite.web.tls import TLS, VERSIONS, Identity

LOG = logging.getLogger(__name__)

ASKED_DRAIN_S = 0.5


class conf(Section, name="api"):
    """The API's frame."""

    host_ip = Host("127.0.0.1", help="Address on which the API listens; nobody but this host reaches it unless set.")
    port = Port(6385, help="Port on which the API listens.")
    api_workers = Int(1, min=1, help="API processes that `ironic-lite` runs, on one port.")
    threads = Int(12, min=2, help="Requests that one API process serves at a time; half of them may wait for a BMC.")
    enable_ssl_api = Bool(False, help="Whether the API speaks HTTPS, and nothing else.")
    cert_file = OptionalStr(None, help="PEM file of the API's certificate, followed by its chain.")
    key_file = OptionalStr(None, help="PEM file of the certificate's key; unset, it is in cert_file.")
    server_tls_minimum_version = Str("1.3", choices=[*VERSIONS], help="Oldest version of TLS that the API accepts.")
    server_tls_ciphers = OptionalStr(None, help="Ciphers for TLS 1.2, in OpenSSL's words; unset, Python's choice.")


class default_conf(Section, name="DEFAULT"):
    """Who may use the API."""

    auth_strategy = Str("noauth", choices=["noauth"], help="How callers of the API prove themselves.")


class ApiService(ServiceBase):  # type: ignore[misc]  # oslo.service has no types
    """One API process, to oslo.service's contract: start, stop, wait, reset."""

    def __init__(
        self,
        listener: socket.socket,
        rpc_credentials: Credentials,
        *,
        grace_s: float,
        name: str = "api",
        siblings: Siblings | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`stop` ends within `grace_s` and a few seconds. With `siblings`, metrics are answered for all of them."""
        self._listener, self._credentials, self._grace_s = listener, rpc_credentials, grace_s
        self._name, self._siblings = name, siblings
        self._clock = clock or SystemClock()
        self._prepared = False

    def prepare(self) -> Self:
        """Make what a fork can share, as nothing of it is open yet. Raises `ConfigurationError`.

        Not a part of the making: what is prepared cannot be pickled for another process.
        """
        self._database = open_database()
        members = Members(self._database, self._clock)
        self._conductors = Conductors(members, self._credentials, BMCWaits("This API process", conf.threads))
        self._workers = Workers(Registry(self._name), self._siblings)
        self._app = application(self._database, members, self._conductors, self._clock, self._workers)
        self._prepared = True
        return self

    def start(self) -> None:
        """Serve. Raises `ConfigurationError` or `DatabaseUnavailable` when that is not possible."""
        if not self._prepared:
            self.prepare()
        self._stopped = threading.Event()
        self._identity = TLS(configured_identity()) if conf.enable_ssl_api else None
        migrate.demand_current(self._database)
        workers = self._workers
        largest_kib = max(body_conf.max_json_body_size, body_conf.max_json_body_size_provision)
        limits = Limits(body_kib=largest_kib)  # the frame; which request may be how large is the application's matter
        self._server = Server(
            "api", self._listener, self._app, threads=conf.threads, limits=limits, identity=self._identity
        )
        workers.registry.add(Process(self._clock).samples)
        workers.registry.add(lambda: self._server.stats().samples())
        workers.registry.add(lambda: self._database.connections().samples())
        self._asked = workers.server()
        if self._asked:
            self._asked.start()
        self._server.start()
        LOG.info("The API serves on %s port %d.", *self._server.address)

    def stop(self) -> None:
        """End, with running requests given their time."""
        if not self._server.drain(self._grace_s):
            LOG.warning("Requests that still ran %g s after the API was told to stop were given up.", self._grace_s)
        if self._asked:
            self._asked.drain(ASKED_DRAIN_S)
        self._conductors.close()
        self._database.dispose()
        self._stopped.set()

    def wait(self) -> None:
        """Return when `stop` has."""
        self._stopped.wait()

    def reset(self) -> None:
        """Read the certificates again; options are read live."""
        if self._identity is not None:
            self._identity.reload()
        self._conductors.reload()

    def drain(self) -> None:
        """Nothing to begin: `stop` takes no more requests and lets those that run end."""

    def is_busy(self) -> bool:
        """Nothing runs here that outlives a request."""
        return False

    def moves(self) -> bool:
        """Whether the serving thread turns."""
        return self._server.moves()

    def keep_registration(self) -> None:
        """Nobody is told of an API."""


def configured_identity() -> Identity:
    """What the API proves itself with under TLS."""
    return Identity("api", conf.cert_file, conf.key_file, conf.server_tls_minimum_version, conf.server_tls_ciphers)
