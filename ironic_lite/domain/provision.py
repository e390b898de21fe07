"""The provision state machine: Ironic's 30 states and 93 transitions, as data."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ironic_lite import errors
from ironic_lite.domain.states import STABLE, WORKING, Provision


class Event(StrEnum):
    """What moves a node from one provision state to another."""

    MANAGE = "manage"
    PROVIDE = "provide"
    INSPECT = "inspect"
    CLEAN = "clean"
    DEPLOY = "deploy"
    REBUILD = "rebuild"
    DELETE = "delete"
    ADOPT = "adopt"
    RESCUE = "rescue"
    UNRESCUE = "unrescue"
    SERVICE = "service"
    ABORT = "abort"
    UNHOLD = "unhold"
    WAIT = "wait"
    HOLD = "hold"
    RESUME = "resume"
    DONE = "done"
    FAIL = "fail"


_P, _E = Provision, Event

TABLE: Final[tuple[tuple[Provision, Event, Provision], ...]] = (
    (_P.ENROLL, _E.MANAGE, _P.VERIFYING),
    (_P.VERIFYING, _E.DONE, _P.MANAGEABLE),
    (_P.VERIFYING, _E.FAIL, _P.ENROLL),
    (_P.MANAGEABLE, _E.PROVIDE, _P.CLEANING),
    (_P.MANAGEABLE, _E.CLEAN, _P.CLEANING),
    (_P.MANAGEABLE, _E.INSPECT, _P.INSPECTING),
    (_P.MANAGEABLE, _E.ADOPT, _P.ADOPTING),
    (_P.AVAILABLE, _E.DEPLOY, _P.DEPLOYING),
    (_P.AVAILABLE, _E.MANAGE, _P.MANAGEABLE),
    (_P.INSPECTING, _E.DONE, _P.MANAGEABLE),
    (_P.INSPECTING, _E.WAIT, _P.INSPECT_WAIT),
    (_P.INSPECTING, _E.FAIL, _P.INSPECT_FAILED),
    (_P.INSPECT_WAIT, _E.RESUME, _P.INSPECTING),
    (_P.INSPECT_WAIT, _E.DONE, _P.MANAGEABLE),
    (_P.INSPECT_WAIT, _E.FAIL, _P.INSPECT_FAILED),
    (_P.INSPECT_WAIT, _E.ABORT, _P.INSPECT_FAILED),
    (_P.INSPECT_FAILED, _E.INSPECT, _P.INSPECTING),
    (_P.INSPECT_FAILED, _E.MANAGE, _P.MANAGEABLE),
    (_P.CLEANING, _E.DONE, _P.AVAILABLE),
    (_P.CLEANING, _E.MANAGE, _P.MANAGEABLE),
    (_P.CLEANING, _E.WAIT, _P.CLEAN_WAIT),
    (_P.CLEANING, _E.HOLD, _P.CLEAN_HOLD),
    (_P.CLEANING, _E.FAIL, _P.CLEAN_FAILED),
    (_P.CLEAN_WAIT, _E.RESUME, _P.CLEANING),
    (_P.CLEAN_WAIT, _E.HOLD, _P.CLEAN_HOLD),
    (_P.CLEAN_WAIT, _E.FAIL, _P.CLEAN_FAILED),
    (_P.CLEAN_WAIT, _E.ABORT, _P.CLEAN_FAILED),
    (_P.CLEAN_HOLD, _E.UNHOLD, _P.CLEAN_WAIT),
    (_P.CLEAN_HOLD, _E.ABORT, _P.CLEAN_FAILED),
    (_P.CLEAN_FAILED, _E.MANAGE, _P.MANAGEABLE),
    (_P.DEPLOYING, _E.DONE, _P.ACTIVE),
    (_P.DEPLOYING, _E.WAIT, _P.DEPLOY_WAIT),
    (_P.DEPLOYING, _E.HOLD, _P.DEPLOY_HOLD),
    (_P.DEPLOYING, _E.FAIL, _P.DEPLOY_FAILED),
    (_P.DEPLOY_WAIT, _E.RESUME, _P.DEPLOYING),
    (_P.DEPLOY_WAIT, _E.HOLD, _P.DEPLOY_HOLD),
    (_P.DEPLOY_WAIT, _E.FAIL, _P.DEPLOY_FAILED),
    (_P.DEPLOY_WAIT, _E.ABORT, _P.DEPLOY_FAILED),
    (_P.DEPLOY_WAIT, _E.DELETE, _P.DELETING),
    (_P.DEPLOY_HOLD, _E.UNHOLD, _P.DEPLOY_WAIT),
    (_P.DEPLOY_HOLD, _E.ABORT, _P.DEPLOY_FAILED),
    (_P.DEPLOY_FAILED, _E.DEPLOY, _P.DEPLOYING),
    (_P.DEPLOY_FAILED, _E.REBUILD, _P.DEPLOYING),
    (_P.DEPLOY_FAILED, _E.DELETE, _P.DELETING),
    (_P.ACTIVE, _E.REBUILD, _P.DEPLOYING),
    (_P.ACTIVE, _E.DELETE, _P.DELETING),
    (_P.ACTIVE, _E.RESCUE, _P.RESCUING),
    (_P.ACTIVE, _E.SERVICE, _P.SERVICING),
    (_P.DELETING, _E.CLEAN, _P.CLEANING),
    (_P.DELETING, _E.FAIL, _P.ERROR),
    (_P.ERROR, _E.REBUILD, _P.DEPLOYING),
    (_P.ERROR, _E.DELETE, _P.DELETING),
    (_P.ADOPTING, _E.DONE, _P.ACTIVE),
    (_P.ADOPTING, _E.FAIL, _P.ADOPT_FAILED),
    (_P.ADOPT_FAILED, _E.ADOPT, _P.ADOPTING),
    (_P.ADOPT_FAILED, _E.MANAGE, _P.MANAGEABLE),
    (_P.RESCUING, _E.DONE, _P.RESCUE),
    (_P.RESCUING, _E.WAIT, _P.RESCUE_WAIT),
    (_P.RESCUING, _E.FAIL, _P.RESCUE_FAILED),
    (_P.RESCUE_WAIT, _E.RESUME, _P.RESCUING),
    (_P.RESCUE_WAIT, _E.FAIL, _P.RESCUE_FAILED),
    (_P.RESCUE_WAIT, _E.ABORT, _P.RESCUE_FAILED),
    (_P.RESCUE_WAIT, _E.DELETE, _P.DELETING),
    (_P.RESCUE, _E.RESCUE, _P.RESCUING),
    (_P.RESCUE, _E.UNRESCUE, _P.UNRESCUING),
    (_P.RESCUE, _E.DELETE, _P.DELETING),
    (_P.RESCUE_FAILED, _E.RESCUE, _P.RESCUING),
    (_P.RESCUE_FAILED, _E.UNRESCUE, _P.UNRESCUING),
    (_P.RESCUE_FAILED, _E.DELETE, _P.DELETING),
    (_P.UNRESCUING, _E.DONE, _P.ACTIVE),
    (_P.UNRESCUING, _E.FAIL, _P.UNRESCUE_FAILED),
    (_P.UNRESCUE_FAILED, _E.UNRESCUE, _P.UNRESCUING),
    (_P.UNRESCUE_FAILED, _E.RESCUE, _P.RESCUING),
    (_P.UNRESCUE_FAILED, _E.DELETE, _P.DELETING),
    (_P.SERVICING, _E.DONE, _P.ACTIVE),
    (_P.SERVICING, _E.WAIT, _P.SERVICE_WAIT),
    (_P.SERVICING, _E.HOLD, _P.SERVICE_HOLD),
    (_P.SERVICING, _E.FAIL, _P.SERVICE_FAILED),
    (_P.SERVICE_WAIT, _E.RESUME, _P.SERVICING),
    (_P.SERVICE_WAIT, _E.HOLD, _P.SERVICE_HOLD),
    (_P.SERVICE_WAIT, _E.FAIL, _P.SERVICE_FAILED),
    (_P.SERVICE_WAIT, _E.ABORT, _P.SERVICE_FAILED),
    (_P.SERVICE_WAIT, _E.DELETE, _P.DELETING),
    (_P.SERVICE_HOLD, _E.UNHOLD, _P.SERVICE_WAIT),
    (_P.SERVICE_HOLD, _E.SERVICE, _P.SERVICING),
    (_P.SERVICE_HOLD, _E.FAIL, _P.SERVICE_FAILED),
    (_P.SERVICE_HOLD, _E.ABORT, _P.SERVICE_FAILED),
    (_P.SERVICE_FAILED, _E.SERVICE, _P.SERVICING),
    (_P.SERVICE_FAILED, _E.RESCUE, _P.RESCUING),
    (_P.SERVICE_FAILED, _E.WAIT, _P.SERVICE_WAIT),
    (_P.SERVICE_FAILED, _E.HOLD, _P.SERVICE_HOLD),
    (_P.SERVICE_FAILED, _E.DELETE, _P.DELETING),
    (_P.SERVICE_FAILED, _E.ABORT, _P.ACTIVE),
)

NEXT: Final = {(state, event): after for state, event, after in TABLE}

# Where a state on the way is heading, unless the request says otherwise (a manual clean heads for manageable).
HEADING: Final[dict[Provision, Provision]] = {
    _P.VERIFYING: _P.MANAGEABLE,
    _P.INSPECTING: _P.MANAGEABLE, _P.INSPECT_WAIT: _P.MANAGEABLE, _P.INSPECT_FAILED: _P.MANAGEABLE,
    _P.CLEANING: _P.AVAILABLE, _P.CLEAN_WAIT: _P.AVAILABLE, _P.CLEAN_HOLD: _P.AVAILABLE,
    _P.CLEAN_FAILED: _P.AVAILABLE,
    _P.DEPLOYING: _P.ACTIVE, _P.DEPLOY_WAIT: _P.ACTIVE, _P.DEPLOY_HOLD: _P.ACTIVE, _P.DEPLOY_FAILED: _P.ACTIVE,
    _P.DELETING: _P.AVAILABLE,
    _P.ADOPTING: _P.ACTIVE, _P.ADOPT_FAILED: _P.ACTIVE,
    _P.RESCUING: _P.RESCUE, _P.RESCUE_WAIT: _P.RESCUE, _P.RESCUE_FAILED: _P.RESCUE,
    _P.UNRESCUING: _P.ACTIVE, _P.UNRESCUE_FAILED: _P.ACTIVE,
    _P.SERVICING: _P.ACTIVE, _P.SERVICE_WAIT: _P.ACTIVE, _P.SERVICE_HOLD: _P.ACTIVE, _P.SERVICE_FAILED: _P.ACTIVE,
}  # fmt: skip

# The working state in which what waits or holds goes on.
WORK_OF: Final[dict[Provision, Provision]] = {
    _P.INSPECT_WAIT: _P.INSPECTING,
    _P.CLEAN_WAIT: _P.CLEANING, _P.CLEAN_HOLD: _P.CLEANING,
    _P.DEPLOY_WAIT: _P.DEPLOYING, _P.DEPLOY_HOLD: _P.DEPLOYING,
    _P.RESCUE_WAIT: _P.RESCUING,
    _P.SERVICE_WAIT: _P.SERVICING, _P.SERVICE_HOLD: _P.SERVICING,
}  # fmt: skip

# What happens on the way, and leaves open where it was heading.
KEEPS_TARGET: Final = frozenset({_E.WAIT, _E.HOLD, _E.RESUME, _E.UNHOLD, _E.FAIL, _E.ABORT})

# The word of a PUT .../states/provision, the event it stands for, and the first API version that has it.
VERBS: Final[dict[str, tuple[Event, int]]] = {
    "active": (_E.DEPLOY, 1), "deploy": (_E.DEPLOY, 73),
    "rebuild": (_E.REBUILD, 1),
    "deleted": (_E.DELETE, 1), "undeploy": (_E.DELETE, 1),
    "manage": (_E.MANAGE, 4), "provide": (_E.PROVIDE, 4),
    "inspect": (_E.INSPECT, 6),
    "abort": (_E.ABORT, 13),
    "clean": (_E.CLEAN, 15),
    "adopt": (_E.ADOPT, 17),
    "rescue": (_E.RESCUE, 38), "unrescue": (_E.UNRESCUE, 38),
    "unhold": (_E.UNHOLD, 1),
    "service": (_E.SERVICE, 1),
}  # fmt: skip

# `abort` came to these states later than to the others.
ABORT_SINCE: Final = {_P.INSPECT_WAIT: 41, _P.DEPLOY_WAIT: 110}


def accepts(state: Provision, event: Event) -> bool:
    """Whether a node in `state` can take `event` as a verb: where a conductor works on it, events are its own."""
    return (state, event) in NEXT and state not in WORKING


def next_state(node: str, state: Provision, event: Event) -> Provision:
    """The state that `event` leads to. Raises `InvalidState` if the table has no such row."""
    try:
        return NEXT[state, event]
    except KeyError:
        raise errors.InvalidState(node=node, verb=event, state=state) from None


def target_of(state: Provision) -> Provision | None:
    """What target_provision_state shows: nothing in a stable state."""
    return None if state in STABLE else HEADING[state]
