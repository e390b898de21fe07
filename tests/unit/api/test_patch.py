"""JSON patch against a model: a flat map from path to leaf, which knows nothing of nesting."""

from __future__ import annotations

import copy
from typing import Any, Literal

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from ironic_lite import errors
from ironic_lite.api.patch import MAX_SEGMENTS, Operation, applied

OPS: st.SearchStrategy[Literal["add", "replace", "remove"]] = st.sampled_from(["add", "replace", "remove"])
KEYS = st.sampled_from(["a", "b", "a.b", "~", "/", "x~1y", "ü"])
LEAVES = st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=2)
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


def pointer(keys: list[str]) -> str:
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def flat(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Each leaf, and each empty object, under its path."""
    if isinstance(value, dict) and value:
        return {key: leaf for name, one in value.items() for key, leaf in flat(one, (*path, name)).items()}
    return {path: value}


def below(model: dict[tuple[str, ...], Any], path: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {key for key in model if key[: len(path)] == path}


@hypothesis.given(
    st.dictionaries(KEYS, DOCUMENTS, max_size=3), OPS,
    st.lists(KEYS, min_size=1, max_size=3), DOCUMENTS,
)  # fmt: skip
def test_an_operation_does_to_the_document_what_it_does_to_the_model(
    document: dict[str, Any], op: Literal["add", "replace", "remove"], keys: list[str], value: Any
) -> None:
    before = copy.deepcopy(document)
    path = tuple(keys)
    model = flat(document)
    there = bool(below(model, path))
    parent_is_object = not path[:-1] or isinstance(reached(document, path[:-1]), dict)
    operation = Operation(op=op, path=pointer(keys), value=msgspec.UNSET if op == "remove" else value)
    may = there if op != "add" else parent_is_object
    if not may or not parent_is_object:
        with pytest.raises(errors.InvalidPatch):
            applied(document, [operation])
        return
    after = flat(applied(document, [operation]))
    changed = below(after, path)
    untouched = {key: leaf for key, leaf in model.items() if key not in below(model, path)}
    if op == "remove":
        assert not changed
    else:
        assert {key[len(path) :]: after[key] for key in changed} == flat(value)
    rest = {key: leaf for key, leaf in after.items() if key not in changed and leaf != {}}
    assert rest == {key: leaf for key, leaf in untouched.items() if leaf != {}}
    assert document == before


def reached(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def patch(document: dict[str, Any], *operations: tuple[Any, ...]) -> dict[str, Any]:
    return applied(document, [Operation(op, path, *value) for op, path, *value in operations])


def test_lists_take_indices() -> None:
    document = {"steps": [1, 2]}
    assert patch(document, ("add", "/steps/0", 0)) == {"steps": [0, 1, 2]}
    assert patch(document, ("add", "/steps/-", 3)) == {"steps": [1, 2, 3]}
    assert patch(document, ("replace", "/steps/1", 9)) == {"steps": [1, 9]}
    assert patch(document, ("remove", "/steps/0")) == {"steps": [2]}


WRONG: list[tuple[Any, ...]] = [
    ("add", "extra", 1),
    ("add", "", 1),
    ("add", "/", 1),
    ("add", "/extra/", 1),
    ("add", "/extra/a~2", 1),
    ("add", "/extra/a~", 1),
    ("add", "/extra"),
    ("add", "/list/3", 1),
    ("add", "/list/01", 1),
    ("add", "/list/-1", 1),
    ("replace", "/list/-", 1),
    ("remove", "/list/2"),
    ("remove", "/text/a"),
    ("add", "/text/a", 1),
    ("add", "/extra" * (MAX_SEGMENTS + 1), 1),
]


@pytest.mark.parametrize("operation", WRONG)
def test_what_does_not_apply_is_refused_naming_the_path(operation: tuple[Any, ...]) -> None:
    with pytest.raises(errors.InvalidPatch) as refused:
        patch({"extra": {}, "list": [1, 2], "text": "t"}, operation)
    assert repr(operation[1]) in str(refused.value)


def test_what_an_operation_added_belongs_to_the_document() -> None:
    value: dict[str, Any] = {}
    assert patch({"extra": {}}, ("add", "/extra/a", value), ("add", "/extra/a/b", 1)) == {"extra": {"a": {"b": 1}}}
    assert value == {}
