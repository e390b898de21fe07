"""The whole API over a real SQLite, with conductors that only note what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import falcon.testing
import msgspec
import pytest
import sqlalchemy as sa

from ironic_lite import config
from ironic_lite.api.app import application
from ironic_lite.api.serving import Serving
from ironic_lite.api.workers import Workers
from ironic_lite.clock import Clock, SystemClock
from ironic_lite.cluster.members import Members
from ironic_lite.cluster.rpc import Method
from ironic_lite.cluster.transport import Conductors, Credentials
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.conductor import allocations
from ironic_lite.db import allocations as db_allocations
from ironic_lite.db import conductors, tables
from ironic_lite.db.engine import Database
from ironic_lite.domain.allocation import Allocation
from ironic_lite.domain.node import INTERFACE_KINDS
from ironic_lite.drivers import registry
from ironic_lite.metrics import Registry


class NotingConductors(Conductors):
    """Notes each call, and answers what a test laid out for the method: a value, an error to raise, or work to do."""

    def __init__(self, members: Members) -> None:
        super().__init__(members, Credentials("test", "test"), BMCWaits("This API", 4))
        self.calls: list[tuple[str, str, tuple[Any, ...]]] = []
        self.answers: dict[str, Any] = {}
        self.works: dict[str, Callable[..., Any]] = {}

    def _call(self, owner: conductors.Conductor, method: Method[Any, ..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((owner.hostname, method.name, (*args, *kwargs.values())))
        if method.name in self.works:
            return self.works[method.name](*args, **kwargs)
        answer = self.answers.get(method.name)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


def allocating(database: Database) -> Callable[[Allocation], None]:
    """What a conductor does for a new allocation, all at once."""

    def work(wanted: Allocation) -> None:
        db_allocations.insert(database, wanted, "refhost")
        assert allocations.settled(database, wanted.uuid, is_last=True)

    return work


def served(**more: Mapping[str, list[str]]) -> conductors.Drivers:
    """The drivers of a conductor with everything enabled that we ship, and `more`."""
    ours = {
        one.name: {kind: list(one.interfaces.get(kind, {})) for kind in INTERFACE_KINDS}
        for one in registry.HARDWARE_TYPES
    }
    return ours | {name.replace("_", "-"): dict(kinds) for name, kinds in more.items()}


class Service:
    """An API on an empty database, in a cluster of one conductor unless a test says otherwise."""

    def __init__(self, database: Database, drivers: conductors.Drivers | None = None) -> None:
        self.database = database
        row = conductors.Conductor("refhost", "http://127.0.0.1:9", "", served() if drivers is None else drivers)
        conductors.register(self.database, row)
        self.members = Members(self.database, SystemClock())
        self.conductors = NotingConductors(self.members)
        self.serve(SystemClock())

    def serve(self, clock: Clock) -> None:
        """Begin anew, by that clock."""
        workers = Workers(Registry("api"))
        self.app_parts = Serving(self.database, self.members, self.conductors, clock, workers)
        self.app = application(self.database, self.members, self.conductors, clock, workers)
        self.client = falcon.testing.TestClient(_linted(self.app))

    def ask(  # a request has that many parts
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        minor: int | None = 110,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> falcon.testing.Result:
        """One request, with a JSON body unless `raw` is given."""
        given = {} if minor is None else {"X-OpenStack-Ironic-API-Version": f"1.{minor}"}
        content = raw if raw is not None else None if body is None else msgspec.json.encode(body)
        return self.client.simulate_request(
            method, path, body=content, headers=given | (headers or {}), host="127.0.0.1", port=46385, **more
        )

    def statements(self) -> list[str]:
        """The statements from here on, as they come."""
        seen: list[str] = []
        self.database.on_statement(seen.append)
        return seen

    def rows(self, table: sa.Table[Any]) -> list[tuple[Any, ...]]:
        """Every row of a table, to compare before and after."""
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.select(*table.columns).order_by(table.c.id))]

    def newest(self, table: sa.Table[Any]) -> str:
        """The UUID of the row that was made last."""
        with self.database.read() as connection:
            return str(connection.execute(sa.select(table.c.uuid).order_by(table.c.id.desc())).scalars().first())

    def close(self) -> None:
        self.conductors.close()
        self.database.dispose()


def sqlite(directory: Path) -> Database:
    """An empty SQLite in that directory, with today's tables."""
    database = Database(sa.URL.create("sqlite", database=str(directory / "ironic.sqlite")))
    with database.write() as connection:
        tables.metadata.create_all(connection)
    return database


def _linted(app: Any) -> Any:
    """The application under Falcon's test client, which lints its WSGI manners (PEP 3333).

    The lint wants a content type on every answer with a length, and Ironic's empty 202 has none, for good reason:
    ironicclient would try to decode the nothing. So the lint is shown an empty one.
    """

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            typed = any(name.lower() == "content-type" for name, _ in headers) or status.startswith("204")
            return start_response(status, headers if typed else [*headers, ("content-type", "")], *more)

        return app(environ, start)

    return call


def fault(result: falcon.testing.Result) -> dict[str, Any]:
    """What an error's doubly encoded body says."""
    inner: dict[str, Any] = msgspec.json.decode(result.json["error_message"])
    return inner


# The fixtures of the tests that use the API in process; a conftest.py makes them known by importing them.


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """The defaults, and whatever a test sets with `config.CONF.set_override`."""
    config.load([], program="test", files=[])
    yield
    config.CONF.clear()
    config.CONF.reset()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(sqlite(tmp_path))
    yield made
    made.close()
