"""JSON patch (RFC 6902): add, replace and remove, with the pointers of RFC 6901."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from ironic_lite import errors

MAX_SEGMENTS: Final = 25
_ABSENT: Final = object()
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")  # RFC 6901, 4: no leading zeros


class Operation(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One operation. Its value may be null, which is not the same as none."""

    op: Literal["add", "replace", "remove"]
    path: str
    value: Any = msgspec.UNSET

    @property
    def root(self) -> str:
        """The attribute that the operation changes."""
        return self.tokens()[0]

    def tokens(self) -> list[str]:
        """The path, unescaped. Raises `InvalidPatch`."""
        if not self.path.startswith("/") or self.path.endswith("/"):
            raise self.refused("a path is one or more segments, each after a slash")
        if _BAD_ESCAPE.search(self.path):
            raise self.refused("a tilde is written ~0 and a slash in a key ~1")
        if self.path.count("/") > MAX_SEGMENTS:  # else many small steps could build what no body may hold
            raise self.refused(f"a path has at most {MAX_SEGMENTS} segments")
        return [token.replace("~1", "/").replace("~0", "~") for token in self.path[1:].split("/")]

    def refused(self, reason: str) -> errors.InvalidPatch:
        """The error of this operation."""
        return errors.InvalidPatch(op=self.op, path=self.path, reason=reason)


def applied(document: dict[str, Any], operations: Sequence[Operation]) -> dict[str, Any]:
    """A copy of the document with the operations carried out, in their order. Raises `InvalidPatch`."""
    changed = copy.deepcopy(document)
    for operation in operations:
        _apply(changed, operation)
    return changed


def _apply(document: dict[str, Any], operation: Operation) -> None:
    *parents, last = operation.tokens()
    holder: Any = document
    for token in parents:
        holder = _member(holder, token, operation)
    if operation.op == "remove":
        _remove(holder, last, operation)
    elif operation.value is msgspec.UNSET:
        raise operation.refused("it needs a value")
    else:
        # A copy, for a later operation may reach into what this one added.
        _put(holder, last, copy.deepcopy(operation.value), operation)


def _member(holder: Any, token: str, operation: Operation) -> Any:
    if isinstance(holder, list):
        return holder[_index(token, len(holder) - 1, operation)]
    if not isinstance(holder, dict):
        raise operation.refused(f"what should hold {token!r} is neither an object nor a list")
    found = holder.get(token, _ABSENT)
    if found is _ABSENT:
        raise operation.refused(f"there is no {token!r}")
    return found


def _remove(holder: Any, token: str, operation: Operation) -> None:
    _member(holder, token, operation)
    if isinstance(holder, list):
        del holder[int(token)]
    else:
        del holder[token]


def _put(holder: Any, token: str, value: Any, operation: Operation) -> None:
    if isinstance(holder, list) and operation.op == "add":
        holder.insert(len(holder) if token == "-" else _index(token, len(holder), operation), value)  # noqa: S105  # RFC 6901's "after the last"
        return
    if isinstance(holder, list):
        holder[_index(token, len(holder) - 1, operation)] = value
        return
    if operation.op == "replace" or not isinstance(holder, dict):
        _member(holder, token, operation)
    holder[token] = value


def _index(token: str, last: int, operation: Operation) -> int:
    if _INDEX.fullmatch(token) is None or int(token) > last:
        raise operation.refused(f"the list has no place {token!r}")
    return int(token)
