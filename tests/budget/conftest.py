"""An API and a conductor in this process, with a real HTTP hop between them, and what a request costs counted."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import sqlalchemy as sa

from ironic_lite import config
from ironic_lite.api.process import ApiService
from ironic_lite.cluster.transport import Credentials
from ironic_lite.conductor.process import ConductorService
from ironic_lite.db import engine, migrate
from ironic_lite.db.engine import Database
from ironic_lite.web.listeners import listen

# What the conductor does by itself would be counted too: its agenda is closed, and the heartbeat takes its time.
QUIET = {"heartbeat_interval": 10**9}


class Stack:
    """Both services, a client of the API, and a database connection of the test's own, which is not counted."""

    def __init__(self, port: int, database: Database) -> None:
        self.port, self.database = port, database
        self.statements: list[str] = []
        self.calls: Counter[CodeType] = Counter()
        self.counting = False
        self.served_from: tuple[Database, ...] = ()

    def watch_statements(self) -> None:
        """From here on statements are seen, which costs Python calls of its own."""
        for database in self.served_from:
            database.on_statement(self._note)

    def _note(self, statement: str) -> None:
        if self.counting:
            self.statements.append(statement)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request on a connection of its own; status and decoded body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"X-OpenStack-Ironic-API-Version": "1.110", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count statements and Python calls of the services' threads."""
        self.statements.clear()
        self.calls.clear()
        self.counting = True
        yield
        self.counting = False

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and self.counting:
            self.calls[frame.f_code] += 1

    def by_package(self) -> Counter[str]:
        """Calls by the package that they went to."""
        packages: Counter[str] = Counter()
        for code, count in self.calls.items():
            parts = Path(code.co_filename).parts
            package = parts[parts.index("site-packages") + 1] if "site-packages" in parts else "".join(parts[-2:])
            packages["ironic_lite" if "ironic_lite" in parts else package] += count
        return packages


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    config.load([], program="test", files=[])
    settings = {"state_path": str(tmp_path), "host": "h1", "enabled_hardware_types": ["fake-hardware"]}
    for name, value in settings.items():
        config.CONF.set_override(name, value)

    for quiet, off in QUIET.items():
        config.CONF.set_override(quiet, off, "conductor")
    migrate.upgrade(engine.database_url())
    credentials = Credentials("test", "test")
    rest, rpc = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
    made = Stack(rest.getsockname()[1], Database(sa.make_url(engine.database_url())))

    threading.setprofile(made.profile)
    conductor = ConductorService(rpc, credentials, 10)
    api = ApiService(rest, credentials, grace_s=1)
    conductor.start()
    conductor._conductor.agenda.close()
    api.start()
    assert api._database is not None
    made.served_from = (conductor._conductor.database, api._database)
    yield made
    made.counting = False
    api.stop()
    conductor.stop()
    threading.setprofile(None)  # not before: workers are hired at any time, and are the services' threads too
    made.database.dispose()
    config.CONF.clear()
    for name in settings:
        config.CONF.clear_override(name)
    for quiet in QUIET:
        config.CONF.clear_override(quiet, "conductor")
