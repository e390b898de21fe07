"""A file is one noun, a function one sentence, a module named for what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ironic_lite

ROOT = Path(ironic_lite.__file__).parent
FILES = [path for path in sorted(ROOT.rglob("*.py")) if "migrations" not in path.parts]
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 50
NOT_A_NOUN = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_noun_and_its_functions_are_sentences(path: Path):
    lines = path.read_text().count("\n")
    assert lines <= MAX_FILE_LINES, f"{path} has {lines} lines; at most {MAX_FILE_LINES} are allowed."
    assert path.stem not in NOT_A_NOUN, f"{path.stem} says nothing about what is in it."
    for function in functions(path):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{path}: {function.name} has {length} lines."


def test_most_functions_are_short():
    lengths = sorted((one.end_lineno or 0) - one.lineno + 1 for path in FILES for one in functions(path))
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[len(lengths) * 9 // 10] <= 25


@pytest.mark.parametrize("path", [one for one in FILES if one.name != "__init__.py"], ids=lambda one: str(one.name))
def test_a_module_opens_with_its_sentence(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} does not say what it is."
