"""What the handlers work with, given to each of them."""

from __future__ import annotations

import msgspec

from ironic_lite.api.workers import Workers
from ironic_lite.clock import Clock
from ironic_lite.cluster.members import Members
from ironic_lite.cluster.transport import Conductors
from ironic_lite.db.engine import Database


class Serving(msgspec.Struct, frozen=True):
    """One API process."""

    database: Database
    members: Members
    conductors: Conductors
    clock: Clock
    workers: Workers
