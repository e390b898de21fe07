"""The steps of a node's verification, cleaning, deployment and service: what a plan of them is. Pure.

A plan is kept in the node's row: all of its steps and the index of the one that has begun in `driver_internal_info`,
under Ironic's names (`clean_steps`, `clean_step_index`), and that step itself in the column that clients read
(`clean_step`), from the moment it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Literal, get_args

import msgspec

from ironic_lite.domain.node import Node


class StepKind(StrEnum):
    """What steps are for."""

    VERIFY = "verify"
    CLEAN = "clean"
    DEPLOY = "deploy"
    SERVICE = "service"

    @property
    def column(self) -> str | None:
        """The column of the step that has begun; a verification has none."""
        return None if self is StepKind.VERIFY else f"{self}_step"

    @property
    def list_key(self) -> str:
        """Where driver_internal_info has the plan."""
        return f"{self}_steps"

    @property
    def index_key(self) -> str:
        """Where driver_internal_info has how far it got."""
        return f"{self}_step_index"


# The kinds of interface that have steps. Of two steps with the same priority that of the interface that stands first
# here goes first (Ironic's order).
StepInterface = Literal["vendor", "power", "management", "firmware", "deploy", "bios", "raid"]
INTERFACE_ORDER: Final[tuple[str, ...]] = get_args(StepInterface)

# What the conductor does itself, whichever interface a request names with it.
HOLD: Final = "hold"
WAIT: Final = "wait"
POWER_STEPS: Final = frozenset({"power_on", "power_off", "reboot"})
RESERVED: Final = POWER_STEPS | {HOLD, WAIT}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan, as rows and clients have it."""

    interface: str
    step: str
    args: dict[str, Any] = {}
    priority: int = 0
    abortable: bool = False
    requires_ramdisk: bool = False
    abort_after: bool = False  # somebody asked to abort while this step could not be

    @property
    def label(self) -> str:
        """How a sentence names it."""
        return f"{self.interface}.{self.step}"


class AskedStep(msgspec.Struct, frozen=True):
    """A step as a request names it. `priority`, of deploy steps: where among the others; 0 leaves that step out."""

    interface: StepInterface
    step: str
    args: dict[str, Any] = {}
    priority: int = 0

    @property
    def label(self) -> str:
        """How a sentence names it."""
        return f"{self.interface}.{self.step}"


class Plan(msgspec.Struct, frozen=True):
    """Steps in their order, and the index of the one that has begun; None before the first."""

    kind: StepKind
    steps: tuple[Step, ...]
    index: int | None = None

    @property
    def current(self) -> Step | None:
        """The step that has begun."""
        return self.steps[self.index] if self.index is not None and self.index < len(self.steps) else None

    @property
    def following(self) -> Plan | None:
        """The plan with its next step begun, or None if there is none."""
        after = 0 if self.index is None else self.index + 1
        return Plan(self.kind, self.steps, after) if after < len(self.steps) else None

    @property
    def to_abort(self) -> Plan:
        """The plan that ends with its current step."""
        marked = (
            msgspec.structs.replace(step, abort_after=True) if number == self.index else step
            for number, step in enumerate(self.steps)
        )
        return Plan(self.kind, tuple(marked), self.index)

    def written(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """The columns with it, where `info` is the driver_internal_info so far."""
        kept = {**info, self.kind.list_key: msgspec.to_builtins(self.steps), self.kind.index_key: self.index}
        columns: dict[str, Any] = {"driver_internal_info": kept}
        if self.kind.column:
            columns[self.kind.column] = msgspec.to_builtins(self.current) if self.current else {}
        return columns


def plan_of(node: Node, kind: StepKind) -> Plan | None:
    """The plan in the node's row."""
    info = node.driver_internal_info
    if kind.list_key not in info:
        return None
    return Plan(kind, msgspec.convert(tuple(info[kind.list_key]), tuple[Step, ...]), info.get(kind.index_key))


def without_plan(info: Mapping[str, Any], kind: StepKind) -> dict[str, Any]:
    """The columns without one, where `info` is the driver_internal_info so far."""
    kept = {key: value for key, value in info.items() if key not in (kind.list_key, kind.index_key)}
    columns: dict[str, Any] = {"driver_internal_info": kept}
    if kind.column:
        columns[kind.column] = {}
    return columns


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The highest priority first; none whose priority is 0, which says that it is left out."""
    wanted = [step for step in steps if step.priority > 0]
    return tuple(sorted(wanted, key=lambda step: (-step.priority, INTERFACE_ORDER.index(step.interface), step.step)))
