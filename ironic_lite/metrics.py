"""What a process tells Prometheus: families of metrics, their samples, and the text format of a scrape (0.0.4).

    THREADS = gauge("ironic_lite_pool_threads", "Threads that the pool has.", "pool")

    registry = Registry("conductor")
    registry.add(lambda: [THREADS.at(pool.stats().threads, pool.name)])
    text = exposition([registry.collect()])

A family is declared beside what it counts and holds no value: values live where they are counted, and are asked for
when somebody scrapes. So nothing is made before a fork, and a process that nobody scrapes pays nothing. Every series
carries the `worker` that it comes from. Labels are bounded: a pool, a kind, a route; never a node, nor what a client
sent.

Guarantees: (1) `Histogram` may be told and asked by any thread; its lock is held for a few additions, and for a copy;
(2) what it counted never goes back; (3) no lock is held while a source is asked, or text is made.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# The name of each family with its lines: what one process has to say, ready to be put beside that of another.
Lines = dict[str, list[str]]


class Family(msgspec.Struct, frozen=True):
    """One metric in all its series; `labels` are the names of what tells them apart, beside the worker."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]

    def at(self, value: float, *labels: str) -> Sample:
        """The value of one series now."""
        return Sample(self, value, tuple(zip(self.labels, labels, strict=True)))


class Sample(NamedTuple):
    """One line of a scrape, whoever says it."""

    family: Family
    value: float
    labels: tuple[tuple[str, str], ...] = ()
    suffix: str = ""

    def line(self, worker: str) -> str:
        """The line as that worker's."""
        inner = ",".join(f'{name}="{escaped(value)}"' for name, value in (("worker", worker), *self.labels))
        return f"{self.family.name}{self.suffix}{{{inner}}} {self.value!r}"


FAMILIES: Final[dict[str, Family]] = {}


def gauge(name: str, about: str, *labels: str) -> Family:
    """Declare what goes up and down."""
    return _declared(Family(name, "gauge", about, labels))


def counter(name: str, about: str, *labels: str) -> Family:
    """Declare what only grows while the process lives; its name ends in `_total`."""
    return _declared(Family(name, "counter", about, labels))


def histogram(name: str, about: str, *labels: str) -> Family:
    """Declare what a `Histogram` holds."""
    return _declared(Family(name, "histogram", about, labels))


def _declared(family: Family) -> Family:
    if family.name in FAMILIES:
        raise TypeError(f"Two families of metrics are called {family.name}.")
    FAMILIES[family.name] = family
    return family


class Registry:
    """Whom one process asks when it is scraped."""

    def __init__(self, worker: str) -> None:
        self.worker: Final = worker
        self._sources: list[Callable[[], Iterable[Sample]]] = []

    def add(self, source: Callable[[], Iterable[Sample]]) -> None:
        """Ask this one too."""
        self._sources.append(source)

    def collect(self) -> Lines:
        """What all of them say now."""
        said: Lines = {}
        for source in self._sources:
            for sample in source():
                said.setdefault(sample.family.name, []).append(sample.line(self.worker))
        return said


def exposition(processes: Iterable[Lines]) -> str:
    """The answer to a scrape: each family once, with the lines of every process."""
    merged: Lines = {}
    for said in processes:
        for name, lines in said.items():
            merged.setdefault(name, []).extend(lines)
    return "".join(f"{line}\n" for name, lines in merged.items() for line in (*_head(FAMILIES[name]), *lines))


def _head(family: Family) -> tuple[str, str]:
    return f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"


def escaped(value: str) -> str:
    """A label's value as it stands between quotes."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Histogram:
    """How often a value was at most each of `bounds`, for each combination of labels that was seen."""

    def __init__(self, family: Family, bounds: Sequence[float]) -> None:
        self._family, self._bounds = family, tuple(bounds)
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Count one value."""
        place = bisect_left(self._bounds, value)
        with self._lock:
            if labels not in self._counts:
                self._counts[labels], self._sums[labels] = [0] * (len(self._bounds) + 1), 0.0
            self._counts[labels][place] += 1
            self._sums[labels] += value

    def samples(self) -> Iterator[Sample]:
        """Every series as it is now."""
        with self._lock:
            seen = [(labels, list(counts), self._sums[labels]) for labels, counts in self._counts.items()]
        for labels, counts, total in seen:
            yield from self._series(dict(zip(self._family.labels, labels, strict=True)), counts, total)

    def _series(self, labels: Mapping[str, str], counts: Sequence[int], total: float) -> Iterator[Sample]:
        plain = tuple(labels.items())
        for bound, count in zip((*map(repr, self._bounds), "+Inf"), accumulate(counts), strict=True):
            yield Sample(self._family, count, (*plain, ("le", bound)), "_bucket")
        yield Sample(self._family, total, plain, "_sum")
        yield Sample(self._family, sum(counts), plain, "_count")
