"""adopting: a machine that runs an instance already becomes active, with its power left as it is."""

from __future__ import annotations

from typing import Any

from ironic_lite.conductor.flow import Flow
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.conductor.stepping import End
from ironic_lite.domain.provision import Event
from ironic_lite.drivers import registry
from ironic_lite.drivers.steps import Outcome


def _work(lock: NodeLock, _outcome: Outcome | None) -> End:
    reading = registry.power(lock.node).read(lock.node, lock.conductor.poll_deadline())
    changes: dict[str, Any] = {"power_state": reading.power} if reading.power is not None else {}
    return End(Event.DONE, "Adopted as it runs.", changes)


ADOPTING = Flow(_work)
