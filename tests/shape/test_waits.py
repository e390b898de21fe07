"""Work never waits for other work but by `TaskPool.wait`: any other way holds a worker, and in the end a whole pool."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ironic_lite

ROOT = Path(ironic_lite.__file__).parent
# Everywhere a worker may come by: not in what runs beside the service, or is the door itself.
ELSEWHERE = ("executors", "launcher", "demo", "fleet", "migrations")
FILES = [path for path in sorted(ROOT.rglob("*.py")) if not set(ELSEWHERE) & set(path.relative_to(ROOT).parts)]

RULE = (
    "Work in a pool's thread waits for other work by `pool.wait(futures, deadline)` alone: it runs what still stands "
    "in line, lends its place, and tells a ring. Ask for `result` and `exception` after it with a timeout of 0; to "
    "wait for time to pass, wait by the clock."
)


def futures_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Imports of what waits for futures."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("concurrent.futures", "futurist", "asyncio"):
            yield from (
                (node.lineno, f"from {node.module} import {one.name}")
                for one in node.names
                if one.name in ("wait", "as_completed", "waiters")
            )


def waits(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls that wait for a future: `x.result(…)`, `x.exception(…)`, `futures.wait(…)`, `….as_completed(…)`."""
    modules = {one.asname or one.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
               for one in node.names} - {"futures"}  # fmt: skip
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, of = node.func.attr, ast.unparse(node.func.value)
        asks = name in ("result", "exception") and of not in modules | {"LOG"} and not is_zero(node)
        if asks or name == "as_completed" or (name == "wait" and (of.endswith("futures") or is_new_event(node.func))):
            yield node.lineno, ast.unparse(node)


def is_zero(call: ast.Call) -> bool:
    """Whether the call has the timeout 0: it does not wait."""
    given = [*call.args, *(one.value for one in call.keywords)]
    return any(isinstance(one, ast.Constant) and one.value == 0 for one in given)


def is_new_event(function: ast.Attribute) -> bool:
    """Whether it is a method of an event that was made for it: nobody sets that but a task's callback."""
    return isinstance(function.value, ast.Call) and ast.unparse(function.value.func).endswith("Event")


def violations(source: str) -> list[str]:
    tree = ast.parse(source)
    return [f"line {line}: {what}" for line, what in sorted([*futures_names(tree), *waits(tree)])]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_work_waits_for_work_by_the_pool_alone(path: Path):
    found = violations(path.read_text())
    assert not found, f"{path.relative_to(ROOT)}: {'; '.join(found)}. {RULE}"


@pytest.mark.parametrize(
    "source",
    [
        "task.result()",
        "pool.submit('kind', 'name', work).result(timeout=10)",
        "error = task.exception(5)",
        "concurrent.futures.wait([task], 5)",
        "from concurrent import futures\nfutures.wait([task])",
        "from concurrent.futures import wait",
        "for one in concurrent.futures.as_completed(tasks): ...",
        "threading.Event().wait(5)",
    ],
)
def test_the_rule_sees(source: str):
    assert violations(source)


@pytest.mark.parametrize(
    "source",
    [
        "pool.wait([task], deadline)\ntask.result(0)",
        "from ironic_lite.cluster import rpc\nrpc.result(method, answer)",
        "LOG.exception('Something failed.')",
        "clock.wait(self.interrupted, 5)",
    ],
)
def test_the_rule_lets_pass(source: str):
    assert violations(source) == []
