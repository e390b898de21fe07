"""How a driver's function becomes a step, and what it returns.

    @step(clean=10, deploy=0, abortable=True, repeatable=True)
    def erase(self, node: Node, attempt: Attempt, *, passes: Annotated[int, Meta(ge=1)] = 1) -> Outcome: ...

The keyword-only parameters are the step's arguments and their annotations its schema. A number for a kind of plan
offers the step for it, at that priority; 0: only when somebody asks for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypedDict, TypeVar, Unpack, get_type_hints

import msgspec

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.node import Node
from ironic_lite.domain.steps import Step, StepKind
from ironic_lite.drivers.interfaces import Attempt

F = TypeVar("F", bound=Callable[..., Any])
_MARK: Final = "ironic_lite_step"


class Done(msgspec.Struct, frozen=True):
    """What was to be done is done."""


class Wait(msgspec.Struct, frozen=True):
    """It goes on without us; `why` is a phrase that operators read.

    After `check_after_s`, and then every so many seconds, it is asked whether it is done; None: somebody will say so.
    """

    why: str
    check_after_s: float | None = None


class Failed(msgspec.Struct, frozen=True):
    """It cannot be done; `reason` is a phrase."""

    reason: str


Outcome = Done | Wait | Failed


class Terms(msgspec.Struct, frozen=True):
    """What a driver says of one of its steps.

    `requires_ramdisk`: an agent must run on the machine. `repeatable`: doing it twice does no harm, so whoever takes
    the node up after a crash may do it again. `check` names the method `(node, deadline) -> Outcome` that tells how a
    step that waits, or that a crash interrupted, stands. `timeout_s` bounds one call of the function.
    """

    priorities: Mapping[StepKind, int]
    abortable: bool
    requires_ramdisk: bool
    repeatable: bool
    check: str | None
    timeout_s: float


class Offer(msgspec.Struct, frozen=True):
    """A step of one interface object."""

    interface: str
    name: str
    terms: Terms
    arguments: type[msgspec.Struct]
    run: Callable[..., Outcome]
    check: Callable[[Node, Deadline], Outcome] | None

    def step(self, kind: StepKind, priority: int | None = None, args: Mapping[str, Any] | None = None) -> Step:
        """It as a step of a plan. Raises `Invalid` for arguments that it does not take."""
        return Step(
            interface=self.interface,
            step=self.name,
            args=self._checked(args or {}),
            priority=self.terms.priorities[kind] if priority is None else priority,
            abortable=self.terms.abortable,
            requires_ramdisk=self.terms.requires_ramdisk,
        )

    def call(self, node: Node, attempt: Attempt, step: Step) -> Outcome:
        """Do it, with its arguments as the function's annotations have them."""
        given = msgspec.convert(step.args, self.arguments)
        return self.run(node, attempt, **{name: getattr(given, name) for name in self.arguments.__struct_fields__})

    def _checked(self, args: Mapping[str, Any]) -> dict[str, Any]:
        try:
            msgspec.convert(args, self.arguments)
        except msgspec.ValidationError as exc:
            known = ", ".join(self.arguments.__struct_fields__) or "none"
            reason = f"The arguments of step {self.interface}.{self.name} are wrong: {exc}; it takes: {known}."
            raise errors.Invalid(reason=reason) from None
        return dict(args)


class Priorities(TypedDict, total=False):
    """The kinds of plan that have the step, each with its priority there."""

    verify: int
    clean: int
    deploy: int
    service: int


def step(
    *,
    abortable: bool = False,
    requires_ramdisk: bool = False,
    repeatable: bool = False,
    check: str | None = None,
    timeout_s: float = 600.0,
    **priorities: Unpack[Priorities],
) -> Callable[[F], F]:
    """Offer the method as a step (`Terms`)."""
    terms = Terms(
        priorities={kind: priorities[kind.value] for kind in StepKind if kind in priorities},
        abortable=abortable,
        requires_ramdisk=requires_ramdisk,
        repeatable=repeatable,
        check=check,
        timeout_s=timeout_s,
    )

    def mark(function: F) -> F:
        setattr(function, _MARK, terms)
        return function

    return mark


def offered(interface: str, implementation: Any) -> list[Offer]:
    """The steps of an interface object."""
    return [
        Offer(
            interface=interface,
            name=name,
            terms=terms,
            arguments=arguments,
            run=getattr(implementation, name),
            check=getattr(implementation, terms.check) if terms.check else None,
        )
        for name, terms, arguments in _marked(implementation.__class__)
    ]


@cache
def _marked(cls: Any) -> tuple[tuple[str, Terms, type[msgspec.Struct]], ...]:
    found = ((name, getattr(cls, name)) for name in dir(cls) if not name.startswith("_"))
    return tuple((name, getattr(one, _MARK), _arguments(name, one)) for name, one in found if hasattr(one, _MARK))


def _arguments(name: str, function: Callable[..., Any]) -> type[msgspec.Struct]:
    hints = get_type_hints(function, include_extras=True)
    fields = [
        (one.name, hints[one.name]) if one.default is one.empty else (one.name, hints[one.name], one.default)
        for one in inspect.signature(function).parameters.values()
        if one.kind is one.KEYWORD_ONLY
    ]
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True, kw_only=True)
