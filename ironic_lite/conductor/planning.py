"""Which steps a plan has: those that drivers do unasked, and those that a request names, checked before any begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from oslo_config import cfg, types

from ironic_lite import errors
from ironic_lite.config import Int, Option, Section
from ironic_lite.domain.node import Node
from ironic_lite.domain.steps import RESERVED, WAIT, AskedStep, Step, StepKind, in_order
from ironic_lite.drivers import registry
from ironic_lite.drivers.steps import Offer


class _PriorityOpt(cfg.MultiOpt):
    def __init__(self, name: str, **more: Any) -> None:
        super().__init__(name, item_type=types.Dict(types.Integer(min=0), bounds=False), **more)


class Priorities(Option[Any]):
    """Priorities of steps, "interface.step:priority"; the option may be given many times."""

    kind = _PriorityOpt


class conf(Section, name="conductor"):
    """The order of steps."""

    clean_step_priority_override = Priorities(
        {}, help="Priorities of automated clean steps, as interface.step:priority; 0 leaves the step out."
    )
    deploy_step_priority_override = Priorities(
        {}, help="Priorities of deploy steps, as interface.step:priority; 0 leaves the step out."
    )
    verify_step_priority_override = Priorities(
        {}, help="Priorities of verify steps, as interface.step:priority; 0 leaves the step out."
    )
    max_conductor_wait_step_seconds = Int(
        30, min=0, max=1800, help="Seconds that a step `wait` may name; without seconds it waits for the agent."
    )


def automatic(node: Node, kind: StepKind) -> tuple[Step, ...]:
    """The steps that are done unasked, in their order."""
    return in_order(_by_default(node, kind).values())


def asked(node: Node, kind: StepKind, wanted: Sequence[AskedStep], *, without_ramdisk: bool) -> tuple[Step, ...]:
    """The steps of a request, in its order. Raises `Invalid` naming the first that is wrong, and what is allowed."""
    offers = _offers(node, kind)
    steps = tuple(_step(node, kind, offers, one) for one in wanted)
    for step in steps:
        if without_ramdisk and step.requires_ramdisk:
            reason = f"Step {step.label} needs the ramdisk, and the request says disable_ramdisk."
            raise errors.Invalid(reason=reason)
    return steps


def deployment(node: Node, wanted: Sequence[AskedStep]) -> tuple[Step, ...]:
    """The steps of a deployment: those done unasked, with what a request adds, changes or (priority 0) leaves out."""
    steps, offers = _by_default(node, StepKind.DEPLOY), _offers(node, StepKind.DEPLOY)
    seen: set[tuple[str, str]] = set()
    for one in wanted:
        key = (one.interface, one.step)
        if key in seen:
            raise errors.Invalid(reason=f"Deploy step {one.label} is named twice.")
        seen.add(key)
        steps[key] = _step(node, StepKind.DEPLOY, offers, one)
    return in_order(steps.values())


def _by_default(node: Node, kind: StepKind) -> dict[tuple[str, str], Step]:
    """What is done unasked, in no order."""
    overrides, steps = _overrides(kind), {}
    for key, offer in _offers(node, kind).items():
        priority = overrides.get(".".join(key), offer.terms.priorities[kind])
        if priority > 0:
            steps[key] = offer.step(kind, priority)
    return steps


def _overrides(kind: StepKind) -> dict[str, int]:
    given: Mapping[StepKind, Iterable[Mapping[str, int]]] = {
        StepKind.CLEAN: conf.clean_step_priority_override or (),
        StepKind.DEPLOY: conf.deploy_step_priority_override or (),
        StepKind.VERIFY: conf.verify_step_priority_override or (),
    }
    return {name: priority for one in given.get(kind, ()) for name, priority in one.items()}


def _offers(node: Node, kind: StepKind) -> dict[tuple[str, str], Offer]:
    return {key: offer for key, offer in registry.steps(node).items() if kind in offer.terms.priorities}


def _step(node: Node, kind: StepKind, offers: Mapping[tuple[str, str], Offer], wanted: AskedStep) -> Step:
    if wanted.step in RESERVED:
        return _reserved(wanted)
    offer = offers.get((wanted.interface, wanted.step))
    if offer is None:
        known = ", ".join([*sorted(f"{one}.{name}" for one, name in offers), *sorted(RESERVED)])
        reason = f"Node {node.uuid} has no {kind} step {wanted.label!r}; it has: {known}."
        raise errors.Invalid(reason=reason)
    return offer.step(kind, wanted.priority, wanted.args)


class _WaitArguments(msgspec.Struct, forbid_unknown_fields=True):
    seconds: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _NoArguments(msgspec.Struct, forbid_unknown_fields=True):
    pass


_ARGUMENTS: Final[Mapping[str, Any]] = {WAIT: _WaitArguments}


def _reserved(wanted: AskedStep) -> Step:
    try:
        given = msgspec.convert(wanted.args, _ARGUMENTS.get(wanted.step, _NoArguments))
    except msgspec.ValidationError as exc:
        raise errors.Invalid(reason=f"The arguments of step {wanted.label} are wrong: {exc}.") from None
    seconds = getattr(given, "seconds", None)
    if (seconds or 0) > conf.max_conductor_wait_step_seconds:
        reason = (
            f"Step {wanted.label} may wait for at most {conf.max_conductor_wait_step_seconds} seconds, not {seconds}."
        )
        raise errors.Invalid(reason=reason)
    return Step(
        interface=wanted.interface,
        step=wanted.step,
        args=wanted.args,
        priority=wanted.priority,
        abortable=True,
        requires_ramdisk=wanted.step == WAIT and seconds is None,
    )
