"""What a REST resource is made of: fields with a first version, compiled into views.

A view is one shape of a resource: for a version, and either the summary, everything, or the fields that were asked
for. It knows the columns to SELECT, which are no more than it shows, and turns a row into the answer.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Flag, auto
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Final

import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import versions
from ironic_lite.api.body import conf as body_conf
from ironic_lite.api.caller import Caller
from ironic_lite.api.checks import Check
from ironic_lite.api.patch import Operation, applied
from ironic_lite.cluster.members import Members, Ring
from ironic_lite.domain.masking import masked
from ironic_lite.web.limits import check_depth

Column = sa.ColumnElement[Any]


class Write(Flag):
    """When a client may set a field."""

    NEVER = 0
    CREATE = auto()
    PATCH = auto()
    ALWAYS = CREATE | PATCH


class Scene:
    """What derived fields draw on beside their row: one for each answer."""

    def __init__(self, caller: Caller, members: Members) -> None:
        self.base_url: Final = caller.base_url
        self._members = members

    @cached_property
    def ring(self) -> Ring:
        """The cluster, looked up once for all rows."""
        return self._members.current()


class Field(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One field of a resource.

    A plain field shows its `column`, through `show` if it has one. A derived field shows what `derive` makes of the
    scene and its `needs`. `before` holds (version, value, what was shown instead before it). `absent` is the value of
    what is not given, removed or null; with `required` there is none. `selectable` fields can be asked for by name.
    """

    column: sa.Column[Any] | None = None
    since: int = 1
    summary: bool = False
    write: Write = Write.NEVER
    secret: bool = False
    selectable: bool = True
    required: bool = False
    nullable: bool = True
    absent: Any = None
    check: Check | None = None
    show: Callable[[Any], Any] | None = None
    before: tuple[tuple[int, Any, Any], ...] = ()
    derive: Callable[..., Any] | None = None
    needs: tuple[Column, ...] = ()

    def accepted(self, name: str, value: Any, minor: int) -> Any:
        """What to store for a value that a client sent. Raises `Invalid` naming the field and what is allowed."""
        if value is None and self.required:
            raise errors.Invalid(reason=f"{name} is mandatory.")
        if value is None:
            return self.absent
        return self.check(name, value, minor) if self.check else value

    def shown_as(self, minor: int) -> Callable[[Any], Any] | None:
        """How the stored value looks in that version."""
        if self.secret:
            return masked
        renamed = {value: instead for since, value, instead in self.before if minor < since}
        return (lambda value: renamed.get(value, value)) if renamed else self.show


def constant(value: Any, *, since: int = 1, check: Check | None = None, write: Write = Write.NEVER) -> Field:
    """A field of Ironic's that is always the same here."""
    return Field(since=since, derive=lambda _scene: value, check=check, write=write)


def timestamp(value: datetime.datetime | None) -> str | None:
    """RFC 3339 with microseconds and an offset: Go's decoder refuses times without a zone."""
    return None if value is None else value.isoformat(timespec="microseconds") + "+00:00"


class View(msgspec.Struct, frozen=True, eq=False):
    """One shape of a resource."""

    columns: tuple[Column, ...]
    names: tuple[str, ...]
    shows: tuple[tuple[str, Callable[[Any], Any]], ...]
    derived: tuple[tuple[str, Callable[..., Any], tuple[int, ...]], ...]

    def render(self, row: Sequence[Any], scene: Scene) -> dict[str, Any]:
        """The row as the answer shows it."""
        shown = dict(zip(self.names, row, strict=False))  # the columns behind the names serve the derived fields
        for name, show in self.shows:
            shown[name] = show(shown[name])
        for name, derive, places in self.derived:
            shown[name] = derive(scene, *[row[place] for place in places])
        return shown


class Resource:
    """A declaration: its `Field`s in the order in which answers show them."""

    fields: ClassVar[dict[str, Field]]
    noun: ClassVar[str]

    def __init_subclass__(cls, *, noun: str) -> None:
        cls.fields = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        cls.noun = noun

    @classmethod
    def summary(cls, minor: int) -> View:
        """What a plain list shows."""
        return cls._view(minor, cls.summary_fields(minor), add_links=True)

    @classmethod
    def detail(cls, minor: int) -> View:
        """Everything."""
        return cls._view(minor, tuple(name for name, one in cls.fields.items() if one.since <= minor), add_links=False)

    @classmethod
    def selection(cls, minor: int, chosen: Iterable[str]) -> View:
        """These fields and the links. Raises `Invalid` for unknown ones and `NotAcceptable` for newer ones."""
        selectable = {name for name, one in cls.fields.items() if one.selectable}
        unknown = [name for name in chosen if name not in selectable]
        if unknown:
            raise errors.Invalid(
                reason=f"fields cannot name {', '.join(unknown)}; allowed are: {', '.join(sorted(selectable))}."
            )
        for name in chosen:
            versions.require(minor, cls.fields[name].since, f"The field {name}")
        return cls._view(minor, tuple(name for name in cls.fields if name in set(chosen)), add_links=True)

    @classmethod
    @lru_cache(maxsize=1024)  # a bound, for clients choose the fields
    def _view(cls, minor: int, chosen: tuple[str, ...], *, add_links: bool) -> View:
        adds = add_links and "links" in cls.fields and "links" not in chosen
        names = (*chosen, "links") if adds else chosen
        fields = {name: cls.fields[name] for name in names}
        plain = {name: one.column for name, one in fields.items() if one.column is not None}
        columns: list[Column] = list(plain.values())
        derived = []
        for name, one in fields.items():
            if one.derive is not None:
                columns += [column for column in one.needs if not any(column is known for known in columns)]
                places = tuple(_place(column, columns) for column in one.needs)
                derived.append((name, one.derive, places))
        shows = [(name, fields[name].shown_as(minor)) for name in plain]
        return View(
            columns=tuple(columns),
            names=tuple(plain),
            shows=tuple((name, show) for name, show in shows if show is not None),
            derived=tuple(derived),
        )

    @classmethod
    def summary_fields(cls, minor: int) -> tuple[str, ...]:
        """The names of what a plain list shows, without the links."""
        return tuple(name for name, one in cls.fields.items() if one.summary and one.since <= minor)

    @classmethod
    def writable(cls, when: Write) -> dict[str, Field]:
        """The fields that a client may set then."""
        return {name: one for name, one in cls.fields.items() if when in one.write}

    @classmethod
    def created(cls, body: Mapping[str, Any], minor: int) -> dict[str, Any]:
        """What to store for a POST: what is given, checked, and the defaults of the rest."""
        allowed = cls.writable(Write.CREATE)
        cls._refuse_unknown(body, allowed, minor)
        values = {name: one.accepted(name, body.get(name), minor) for name, one in allowed.items()}
        return {name: values[name] for name, one in allowed.items() if one.derive is None}

    @classmethod
    def patched(cls, stored: Mapping[str, Any], operations: Sequence[Operation], minor: int) -> dict[str, Any]:
        """What a patch changes of the stored values, checked. Raises `Invalid`, `InvalidPatch` or `NotAcceptable`."""
        allowed = cls.writable(Write.PATCH)
        for operation in operations:
            cls._refuse_root(operation, allowed, minor)
        after = applied({name: stored.get(name) for name in allowed}, operations)
        values = {
            name: _patched_value(name, allowed[name], after, minor)
            for name in dict.fromkeys(operation.root for operation in operations)
        }
        return {name: value for name, value in values.items() if _differs(value, stored.get(name))}

    @classmethod
    def _refuse_root(cls, operation: Operation, allowed: Mapping[str, Field], minor: int) -> None:
        if operation.root not in allowed:
            raise errors.Invalid(
                reason=f"Cannot patch {operation.path!r} of a {cls.noun}; allowed are: {', '.join(sorted(allowed))}."
            )
        if operation.op != "remove":
            versions.require(minor, allowed[operation.root].since, f"The field {operation.root}")

    @classmethod
    def _refuse_unknown(cls, body: Mapping[str, Any], allowed: Mapping[str, Field], minor: int) -> None:
        unknown = sorted(body.keys() - allowed.keys())
        if unknown:
            raise errors.Invalid(
                reason=f"A new {cls.noun} cannot have {', '.join(unknown)}; allowed are: {', '.join(sorted(allowed))}."
            )
        for name in body:
            versions.require(minor, allowed[name].since, f"The field {name}")


def _patched_value(name: str, field: Field, after: Mapping[str, Any], minor: int) -> Any:
    if name in after and after[name] is None and not field.nullable:
        raise errors.Invalid(reason=f"{name} cannot be null; remove it instead.")
    value = field.accepted(name, after.get(name), minor)
    check_depth(_ENCODER.encode(value), body_conf.max_json_body_depth)  # several operations may have built it
    return value


def _differs(one: Any, other: Any) -> bool:
    return _ENCODER.encode(one) != _ENCODER.encode(other)  # to Python, but not to JSON, 1 and true are equal


_ENCODER: Final = msgspec.json.Encoder()


def _place(column: Column, columns: Sequence[Column]) -> int:
    # `in` and index() would ask SQLAlchemy's ==, which makes an expression.
    return next(place for place, known in enumerate(columns) if known is column)
