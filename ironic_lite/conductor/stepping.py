"""Carries out plans of steps: one engine for verification, cleaning, deployment and service.

*Guarantees.* (1) All of a plan is valid before any of it begins (`planning`). (2) A step has begun only once the row
says so. Who takes the node up after a crash therefore knows what may have happened: a step that can be asked how it
stands is asked, one that may be repeated is repeated, and every other fails the work with the reason. (3) One step at a
time, each call of it within its timeout. (4) What waits holds no thread and no lock, and its row says what for. (5) Who
asks to abort a step that cannot be interrupted has the plan end with that step.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.conductor import power
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from ironic_lite.domain.states import PowerTarget
from ironic_lite.domain.steps import HOLD, POWER_STEPS, WAIT, Plan, Step, StepKind, plan_of, without_plan
from ironic_lite.drivers import registry
from ironic_lite.drivers.steps import Done, Failed, Offer, Outcome, Wait

WAITING_KEY: Final = "waiting_for"  # in driver_internal_info, while nobody works on the node
TARGETS: Final = {"power_on": PowerTarget.ON, "power_off": PowerTarget.OFF, "reboot": PowerTarget.REBOOT}


class End(msgspec.Struct, frozen=True):
    """How a state's work ended: the event, what is written with it, and a sentence for the history."""

    event: Event
    sentence: str
    changes: dict[str, Any] = {}


Ending = Generator[float, None, End]
Pausing = Generator[float, None, Outcome]


def run(lock: NodeLock, kind: StepKind, outcome: Outcome | None = None) -> Ending:
    """Carry the node's plan on until it ends, waits or holds; yields the pauses of changes of power.

    `outcome` is how the step ended that the node waited for. Without one a plan that stands at a step was interrupted.
    Raises `StepFailed`, `Aborted`, and whatever a driver raises.
    """
    plan = plan_of(lock.node, kind) or Plan(kind, ())
    if outcome is None and plan.current is not None:
        outcome = yield from _after_crash(lock, plan.current)
    while True:
        if isinstance(outcome, Failed):
            raise errors.StepFailed(step=plan.current.label if plan.current else "none", reason=outcome.reason)
        if isinstance(outcome, Wait):
            return _waiting(lock, plan, outcome)
        if plan.current is not None and plan.current.abort_after:
            raise errors.Aborted(step=plan.current.label)
        following = plan.following
        if following is None or following.current is None:
            return End(Event.DONE, _told(plan), without_plan(lock.node.driver_internal_info, kind))
        plan, step = following, following.current
        lock.write(**plan.written(lock.node.driver_internal_info))
        if step.step == HOLD:
            return End(Event.HOLD, f"Step {step.label} holds the node until somebody asks to unhold it.")
        outcome = yield from _execute(lock, step)


def check(conductor: Conductor, node: Node, step: Step) -> Outcome:
    """How a step stands that the node waits for. Asks the BMC at most, and takes no lock."""
    if step.step in (WAIT, HOLD):
        return Done()
    offer = _offer(node, step)
    if offer.check is None:
        return Failed(f"step {step.label} cannot be asked whether it is done")
    return offer.check(node, Deadline(conductor.clock, offer.terms.timeout_s))


def _told(plan: Plan) -> str:
    names = ", ".join(step.label for step in plan.steps)
    return f"All {plan.kind} steps are done: {names}." if names else f"There are no {plan.kind} steps to do."


def _waiting(lock: NodeLock, plan: Plan, outcome: Wait) -> End:
    if plan.kind is StepKind.VERIFY:  # there is no state in which it could wait
        raise errors.StepFailed(
            step=plan.current.label if plan.current else "none", reason="a verification cannot wait"
        )
    info = lock.node.driver_internal_info | {WAITING_KEY: msgspec.to_builtins(outcome)}
    return End(Event.WAIT, f"Waiting for {outcome.why}.", {"driver_internal_info": info})


def _after_crash(lock: NodeLock, step: Step) -> Pausing:
    """How a step stands that was under way when its conductor ended."""
    if step.step in POWER_STEPS and step.step != "reboot":
        return (yield from _execute(lock, step))
    if step.step in (HOLD, WAIT):
        return Done()
    offer = None if step.step in POWER_STEPS else _offer(lock.node, step)
    if offer is not None and offer.check is not None:
        return check(lock.conductor, lock.node, step)
    if offer is not None and offer.terms.repeatable:
        return (yield from _execute(lock, step))
    return Failed("its conductor ended in the middle of it, and it is not one that may be repeated")


def _execute(lock: NodeLock, step: Step) -> Pausing:
    if step.step in POWER_STEPS:
        return (yield from _power(lock, TARGETS[step.step]))
    if step.step == WAIT:
        return _wait(step)
    offer = _offer(lock.node, step)
    return offer.call(lock.node, lock.attempt(Deadline(lock.conductor.clock, offer.terms.timeout_s)), step)


def _power(lock: NodeLock, target: PowerTarget) -> Pausing:
    lock.write(target_power_state=target.settles_as)
    yield from power.bring(lock, target)
    lock.write(power_state=target.settles_as, target_power_state=None)
    return Done()


def _wait(step: Step) -> Outcome:
    seconds = step.args.get("seconds")
    return Wait("the agent" if seconds is None else f"{seconds} seconds to pass", check_after_s=seconds)


def _offer(node: Node, step: Step) -> Offer:
    offer = registry.steps(node).get((step.interface, step.step))
    if offer is None:  # another interface was chosen meanwhile, or another version runs now
        raise errors.StepFailed(step=step.label, reason="the node's interfaces do not offer it any more")
    return offer
