"""Engines whose every statement ends: by the server where it can, by the client where the server is gone.

Guarantees: (1) connecting ends within `Limits.connect_s` for each address of the server, a statement within
`statement_s` on a server that works and `client_s` on one that is frozen, killed or cut off; (2) the check of a
connection that was idle ends within `connect_s`; (3) a connection that was given up by the client is closed, and takes
every idle one of its pool with it. Not bounded by us: the resolver, when a server is given by name (resolv.conf bounds
it), and the file system under SQLite.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, Protocol

import msgspec
import sqlalchemy as sa

from ironic_lite import errors

MAX_CONNECT_S: Final = 10
CLIENT_GRACE_S: Final = 1


class Limits(msgspec.Struct, frozen=True):
    """How long things may take, in whole seconds, all drawn from one option."""

    statement_s: int

    @property
    def client_s(self) -> int:
        """The client waits a little longer than the server, whose refusal says more than a silence."""
        return self.statement_s + CLIENT_GRACE_S

    @property
    def connect_s(self) -> int:
        """Connecting, each statement that sets a connection up, and the check of one that was idle."""
        return min(MAX_CONNECT_S, self.statement_s)

    @property
    def lock_s(self) -> int:
        """A statement that waits for a row of another transaction; SQLite's one lock is waited for `statement_s`."""
        return max(1, self.statement_s // 3)

    @property
    def idle_s(self) -> int:
        """A transaction in which nothing is asked: its process is frozen, and its locks must not stay."""
        return 2 * self.statement_s


class _Bounded(Protocol):
    """A connection to a server that gives a statement up."""

    def limit(self, seconds: int) -> None:
        """From here on each statement may take so long."""


_MODULES: Final = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


def bounded_engine(url: sa.URL, limits: Limits, **options: Any) -> sa.Engine:
    """SQLAlchemy's engine with those options, whose connections keep the limits.

    Raises `ConfigurationError` if the package of that kind of database is not installed.
    """
    module = _MODULES[url.get_backend_name()]
    try:
        # Parameters hold BMC passwords, and an error's text may reach a log.
        engine = sa.create_engine(url, hide_parameters=True, **options)
        connect = importlib.import_module(f"ironic_lite.db.{module}").connect
    except ModuleNotFoundError as exc:
        reason = f"[database]connection needs the package {exc.name}: install ironic-lite[{module}]."
        raise errors.ConfigurationError(reason=reason) from None

    def do_connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        return connect(limits, arguments, options)

    sa.event.listen(engine, "do_connect", do_connect)
    if module != "sqlite":
        _limit_by_use(engine, limits)
    return engine


def _limit_by_use(engine: sa.Engine, limits: Limits) -> None:
    """A connection in the pool is only ever checked, which must not take as long as a statement may."""

    def lend(connection: _Bounded, _record: Any, _fairy: Any) -> None:
        connection.limit(limits.client_s)

    def take_back(connection: _Bounded | None, _record: Any) -> None:
        if connection is not None:  # it was given up, and is closed
            connection.limit(limits.connect_s)

    sa.event.listen(engine, "checkout", lend)
    sa.event.listen(engine, "checkin", take_back)
