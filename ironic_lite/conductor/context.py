"""What every flow of one conductor works with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from ironic_lite import errors
from ironic_lite.clock import Clock, Deadline
from ironic_lite.cluster.members import Members
from ironic_lite.conductor.reports import Reports
from ironic_lite.config import Int, Section
from ironic_lite.db.engine import Database
from ironic_lite.domain.node import Node
from ironic_lite.executors.agenda import Agenda
from ironic_lite.executors.programs import Programs
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.metrics import Sample
from ironic_lite.usage import Process
from ironic_lite.web.server import Server

if TYPE_CHECKING:
    from ironic_lite.conductor.freshness import Freshness


class conf(Section, name="conductor"):
    """How long a BMC may take."""

    synchronous_call_timeout = Int(
        25, min=1, help="Seconds that a client's call may wait for a BMC (boot device); clients give up after 30."
    )
    poll_timeout = Int(30, min=1, help="Seconds that one visit of the power sync or the sensors to a BMC may take.")


class Work(StrEnum):
    """The kinds of a conductor's work; what each may use of the pool: `conductor.kinds`."""

    ACTIONS = "actions"
    PROVISIONING = "provisioning"
    WAITS = "waits"
    POWER_SYNC = "power sync"
    POWER_RECOVERY = "power recovery"
    SENSORS = "sensor collection"
    HOUSE_KEEPING = "house-keeping"


class Conductor:
    """One running conductor. What is kept by node UUID forgets nodes that are gone.

    `process` and `servers` are what statistics ask, beside the pool and the database; `sources` are further ones that
    Prometheus is told of. `freshness` puts itself there.
    """

    freshness: Freshness

    def __init__(
        self, host: str, database: Database, members: Members, pool: TaskPool, agenda: Agenda, clock: Clock
    ) -> None:
        self.host: Final = host
        self.database: Final = database
        self.members: Final = members
        self.pool: Final = pool
        self.agenda: Final = agenda
        self.clock: Final = clock
        self.programs: Final = Programs(clock)
        self.interrupted: Final = threading.Event()
        self.holds: Final[set[str]] = set()  # the ids of the locks that work of this life has; single operations only
        self.sensors: Final = Reports()
        self.process: Final = Process(clock)
        self.servers: Final[list[Server]] = []
        self.sources: Final[list[Callable[[], Iterable[Sample]]]] = []

    def owns(self, uuid: str, driver: str, group: str) -> bool:
        """Whether the ring gives the node to this conductor."""
        owner = self.members.current().owner(uuid, driver, group)
        return owner is not None and owner.hostname == self.host

    def forget_all_but(self, known: set[str]) -> None:
        """Drop what is remembered of every other node."""
        self.sensors.forget_all_but(known)

    def wrote(self, node: Node, changes: Mapping[str, Any]) -> Node:
        """The node after a statement of ours made these changes; the picture of it follows at once."""
        if "provision_state" in changes:  # the row has the database's time, which is nearly the same
            changes = {"provision_updated_at": self.clock.now(), **changes}
        written = node.written(changes)
        self.freshness.place([written])
        return written

    def pause(self, seconds: float) -> None:
        """Wait. Raises `Interrupted` when the conductor stops."""
        if self.clock.wait(self.interrupted, seconds):
            raise errors.Interrupted(what="The work")

    def call_deadline(self) -> Deadline:
        """By when a client's call must have its answer from a BMC."""
        return Deadline(self.clock, conf.synchronous_call_timeout)

    def poll_deadline(self) -> Deadline:
        """By when one visit must have ended."""
        return Deadline(self.clock, conf.poll_timeout)
