"""docs/states.md is what the tables of `domain/provision.py` say.

After a change there: `python -m tests.contract.test_states > docs/states.md`
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ironic_lite.domain.provision import ABORT_SINCE, HEADING, TABLE, VERBS, Event, accepts
from ironic_lite.domain.states import STABLE, WAITING, WORKING, Provision

PAGE: Final = Path(__file__).parents[2] / "docs" / "states.md"

INTRODUCTION: Final = """# Provision states

This page is made from the tables of `ironic_lite/domain/provision.py` (`python -m tests.contract.test_states >
docs/states.md`); a test keeps it fresh. States, events and verbs are Ironic's (39.0.0, API 1.115).

A node rests in a **stable** state until somebody asks for more. In a **working** state its conductor works on it and
holds its lock; if that conductor ends, the node is taken up again. In a **waiting** state nobody holds it: its row says
what it waits for (`driver_internal_info.waiting_for`), and an option bounds the wait. One that **holds** waits for
`unhold`. Each change of state is an entry of the node's history: when, by which conductor, why, and how long the state
before took.
"""

ANSWERS: Final = """## Verbs

`PUT /v1/nodes/{node}/states/provision` with `{"target": verb}` is answered before the work begins: 202. Nothing has
changed when it is refused:

- 400 where the table below does not have the verb for the node's state, and for anything wrong beside it;
- 403 for `deleted`, `undeploy` and `rebuild` of a node that is protected;
- 406 where the request's version is older than the verb;
- 409 while somebody else works on the node (the error names who, and for what);
- 503 while the conductor has no worker to give, or as many nodes as `[conductor]max_concurrent_deploy` or
  `max_concurrent_clean` allow are on their way; `Retry-After` says when to ask again.
"""

# What a verb needs or is refused for, beside the node's state.
MORE: Final[dict[Event, str]] = {
    Event.MANAGE: "from enroll the BMC must answer, or the node goes back with the reason in last_error",
    Event.PROVIDE: "400 if the node is retired",
    Event.CLEAN: "needs clean_steps; 400 in maintenance mode",
    Event.SERVICE: "needs service_steps; 400 in maintenance mode",
    Event.DEPLOY: "400 in maintenance mode",
    Event.REBUILD: "400 in maintenance mode; 403 if protected",
    Event.DELETE: "403 if protected",
    Event.RESCUE: "needs rescue_password; 400 in maintenance mode",
    Event.UNRESCUE: "400 in maintenance mode",
    Event.ABORT: "a step that cannot be interrupted is the last one; from service failed 409 in maintenance mode",
    Event.UNHOLD: "goes on with the next step at once",
    Event.INSPECT: "",
    Event.ADOPT: "power is left as it is",
}

PARTS: Final[dict[str, tuple[Provision, ...]]] = {
    "From enroll to available": (
        Provision.ENROLL, Provision.VERIFYING, Provision.MANAGEABLE, Provision.INSPECTING, Provision.INSPECT_WAIT,
        Provision.INSPECT_FAILED, Provision.ADOPTING, Provision.ADOPT_FAILED, Provision.CLEANING,
        Provision.CLEAN_WAIT, Provision.CLEAN_HOLD, Provision.CLEAN_FAILED, Provision.AVAILABLE, Provision.ACTIVE,
    ),
    "From available to active and back": (
        Provision.AVAILABLE, Provision.DEPLOYING, Provision.DEPLOY_WAIT, Provision.DEPLOY_HOLD,
        Provision.DEPLOY_FAILED, Provision.ACTIVE, Provision.DELETING, Provision.ERROR, Provision.CLEANING,
    ),
    "Around active": (
        Provision.ACTIVE, Provision.RESCUING, Provision.RESCUE_WAIT, Provision.RESCUE, Provision.RESCUE_FAILED,
        Provision.UNRESCUING, Provision.UNRESCUE_FAILED, Provision.SERVICING, Provision.SERVICE_WAIT,
        Provision.SERVICE_HOLD, Provision.SERVICE_FAILED, Provision.DELETING,
    ),
}  # fmt: skip


def page() -> str:
    """The whole document."""
    return "\n".join([INTRODUCTION, *pictures(), ANSWERS, *verbs(), "", "## States", "", *states(), ""])


def pictures() -> Iterator[str]:
    """One drawing for each part of a node's life; a verb is in capitals."""
    asked = {event for event, _ in VERBS.values()}
    for title, part in PARTS.items():
        yield f"## {title}\n\nWhat a verb leads to is drawn with the verb in capitals.\n\n```mermaid\nstateDiagram-v2"
        for state in part:
            yield f'    state "{state}" as {state.name}'
        for state, event, after in TABLE:
            if state in part and after in part:
                yield f"    {state.name} --> {after.name}: {event.upper() if event in asked else event}"
        yield "```\n"


def verbs() -> Iterator[str]:
    """A row for each word of a request."""
    yield "| verb | since | from | to | |"
    yield "|---|---|---|---|---|"
    for word, (event, since) in VERBS.items():
        rows = [(state, after) for state, one, after in TABLE if one is event and accepts(state, event)]
        entered = sorted({after for _, after in rows})
        left = ", ".join(_since(state, event) for state, _ in rows)
        yield f"| `{word}` | 1.{since} | {left} | {', '.join(entered)} | {MORE[event]} |"


def _since(state: Provision, event: Event) -> str:
    later = ABORT_SINCE.get(state) if event is Event.ABORT else None
    return f"{state} (1.{later})" if later else state


def states() -> Iterator[str]:
    """A row for each state."""
    yield "| state | kind | heading for | events |"
    yield "|---|---|---|---|"
    for state in Provision:
        events = ", ".join(f"{event} → {after}" for one, event, after in TABLE if one is state)
        yield f"| {state} | {_kind(state)} | {HEADING.get(state, '')} | {events} |"


def _kind(state: Provision) -> str:
    for kind, members in (("stable", STABLE), ("working", WORKING), ("waiting", WAITING)):
        if state in members:
            return kind
    return "holds" if state.endswith("hold") else "failed"


def test_the_page_of_the_states_is_fresh() -> None:
    assert PAGE.read_text() == page(), "Run `python -m tests.contract.test_states > docs/states.md`."


def test_every_transition_is_drawn_somewhere() -> None:
    drawn = {(state, after) for part in PARTS.values() for state in part for after in part}
    assert {(state, after) for state, _, after in TABLE} <= drawn


def test_every_verb_has_its_word() -> None:
    assert set(MORE) == {event for event, _ in VERBS.values()}


if __name__ == "__main__":
    sys.stdout.write(page())
