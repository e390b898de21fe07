"""verifying: an enrolled node is manageable once its BMC has answered and its verify steps are done."""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.conductor import caching, planning, stepping
from ironic_lite.conductor.flow import Flow
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.conductor.stepping import Ending
from ironic_lite.domain.steps import Plan, StepKind, plan_of, without_plan
from ironic_lite.drivers import registry
from ironic_lite.drivers.steps import Outcome

LOG: Final = logging.getLogger(__name__)


def _work(lock: NodeLock, outcome: Outcome | None) -> Ending:
    reading = registry.power(lock.node).read(lock.node, lock.conductor.poll_deadline())
    if reading.power is None:
        raise errors.Invalid(reason="the BMC answers, but does not say whether the machine is on or off")
    told = {"power_state": reading.power, "boot_mode": reading.boot_mode, "health": reading.health}
    changes = {name: value for name, value in told.items() if value is not None}
    _read_parts(lock)
    _plan(lock)
    end = yield from stepping.run(lock, StepKind.VERIFY, outcome)
    sentence = f'The BMC answers and the machine is "{reading.power}". {end.sentence}'
    return msgspec.structs.replace(end, sentence=sentence, changes=end.changes | changes)


def _read_parts(lock: NodeLock) -> None:
    """Keep what the BMC tells of settings and firmware. A node is manageable without it: they are read to be seen."""
    for cache in (caching.cache_bios, caching.cache_firmware):
        try:
            cache(lock)
        except errors.BMCError as exc:
            LOG.warning("Node %s: what could not be read while it was verified: %s", lock.node.label, exc)


def _plan(lock: NodeLock) -> None:
    """Write down the steps, if there are any and nobody did yet."""
    steps = planning.automatic(lock.node, StepKind.VERIFY)
    if steps and plan_of(lock.node, StepKind.VERIFY) is None:
        lock.write(**Plan(StepKind.VERIFY, steps).written(lock.node.driver_internal_info))


def _give_up(lock: NodeLock, _failure: str | None) -> dict[str, Any]:
    return without_plan(lock.node.driver_internal_info, StepKind.VERIFY)


VERIFYING = Flow(_work, give_up=_give_up, kind=StepKind.VERIFY)
