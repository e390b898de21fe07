"""The text of a scrape as Prometheus's own parser reads it, and counts that are exact while somebody scrapes."""

from __future__ import annotations

import datetime
import os
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from ironic_lite import metrics
from ironic_lite.clock import SystemClock
from ironic_lite.metrics import Family, Histogram, Registry, exposition
from ironic_lite.usage import Process
from tests.waiting import until

BOUNDS = (0.1, 1.0, 10.0)


@pytest.fixture(scope="module", autouse=True)
def only_ours() -> Iterator[None]:
    """Families that this module declares are no families of the service."""
    known = dict(metrics.FAMILIES)
    yield
    metrics.FAMILIES.clear()
    metrics.FAMILIES.update(known)


@pytest.fixture(scope="module")
def level() -> Family:
    return metrics.gauge("test_level", "How high it is.", "where")


@pytest.fixture(scope="module")
def seconds() -> Family:
    return metrics.histogram("test_seconds", "How long it took.", "route")


def parsed(*registries: Registry) -> dict[str, Metric]:
    found = list(text_string_to_metric_families(exposition(one.collect() for one in registries)))
    assert len({one.name for one in found}) == len(found), "A family comes in two parts."
    return {one.name: one for one in found}


def test_each_family_comes_once_with_its_help_and_type_and_the_series_of_every_process(level: Family):
    first, second = Registry("api-1"), Registry("api-2")
    first.add(lambda: [level.at(3, "here"), level.at(0.25, "there")])
    second.add(lambda: [level.at(4, "here")])
    (family,) = parsed(first, second).values()
    assert (family.name, family.documentation, family.type) == ("test_level", "How high it is.", "gauge")
    assert {(one.labels["worker"], one.labels["where"]): one.value for one in family.samples} == {
        ("api-1", "here"): 3,
        ("api-1", "there"): 0.25,
        ("api-2", "here"): 4,
    }


@hypothesis.given(st.text())
@hypothesis.example('"\\\n')
@hypothesis.example("\\n")
def test_a_label_is_read_as_it_was_given(where: str):
    line = Family("test_level", "gauge", "How high it is.", ("where",)).at(1, where).line("api")
    (family,) = text_string_to_metric_families(line + "\n")
    assert family.samples[0].labels == {"worker": "api", "where": where}


def test_a_sample_needs_each_label_of_its_family(level: Family):
    for wrong in ((), ("here", "there")):
        with pytest.raises(ValueError, match="argument 2"):
            level.at(1, *wrong)


def test_two_families_cannot_have_one_name(level: Family):
    with pytest.raises(TypeError, match="Two families of metrics are called test_level"):
        metrics.counter("test_level", "Another.")


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from(["/a", "/b"]), st.sampled_from([0.05, 0.1, 0.5, 1.0, 10.0, 99.0])))
)
def test_a_histogram_counts_what_is_at_most_each_bound(seconds: Family, observed: list[tuple[str, float]]):
    histogram, registry = Histogram(seconds, BOUNDS), Registry("api")
    registry.add(histogram.samples)
    for route, value in observed:
        histogram.observe(value, route)
    samples = [one for family in parsed(registry).values() for one in family.samples]
    told = {(one.name, one.labels["route"], one.labels.get("le")): one.value for one in samples}
    expected: dict[tuple[str, str, str | None], float] = {}
    for route in {route for route, _ in observed}:
        values = [value for other, value in observed if other == route]
        for bound in (*BOUNDS, float("inf")):
            text = "+Inf" if bound == float("inf") else str(bound)
            expected["test_seconds_bucket", route, text] = sum(value <= bound for value in values)
        expected["test_seconds_sum", route, None] = sum(values)
        expected["test_seconds_count", route, None] = len(values)
    assert told == pytest.approx(expected)


def test_scrapes_amid_the_counting_never_go_back_and_the_end_is_exact(seconds: Family):
    histogram, registry = Histogram(seconds, BOUNDS), Registry("api")
    registry.add(histogram.samples)
    done = threading.Event()
    seen: list[float] = []

    def count() -> None:
        for _ in range(2000):
            histogram.observe(0.5, "/a")

    def told() -> dict[str, float]:
        samples = [one for family in parsed(registry).values() for one in family.samples]
        return {one.name + one.labels.get("le", ""): one.value for one in samples}

    def scrape() -> None:
        while not done.is_set():
            if now := told():
                assert now["test_seconds_bucket+Inf"] == now["test_seconds_count"]
                seen.append(now["test_seconds_count"])

    with ThreadPoolExecutor(5) as pool:
        scraping = pool.submit(scrape)
        counting = [pool.submit(count) for _ in range(4)]
        for one in counting:
            one.result(60)
        done.set()
        scraping.result(60)
    assert seen == sorted(seen)
    assert told()["test_seconds_count"] == 8000


def status() -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())


def test_what_a_process_uses_is_what_the_kernel_says_elsewhere():
    process = Process(SystemClock())
    before = process.usage()
    with Path("/dev/null").open() as _one, Path("/dev/null").open() as _other:
        assert process.usage().open_files == before.open_files + 2
    until(lambda: process.usage().threads == int(status()["Threads"]))  # another test's may be ending
    now = process.usage()
    assert now.pid == os.getpid()
    assert now.rss_bytes == pytest.approx(int(status()["VmRSS"].split()[0]) * 1024, rel=0.1)
    assert now.max_files == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    used = os.times()
    assert 0 < before.cpu_s <= now.cpu_s <= used.user + used.system + 0.02
    assert now.cpu_s == pytest.approx(used.user + used.system, abs=1.0)
    assert 0 < before.uptime_s <= now.uptime_s
    assert now.uptime_s <= SystemClock().boottime()


def test_a_process_is_told_under_the_names_of_every_exporter():
    registry = Registry("api")
    process = Process(SystemClock())
    registry.add(process.samples)
    first, second = parsed(registry), parsed(registry)
    assert first.keys() == {
        "process_cpu_seconds", "process_resident_memory_bytes", "process_threads", "process_open_fds",
        "process_max_fds", "process_start_time_seconds",
    }  # fmt: skip
    (started,) = first["process_start_time_seconds"].samples
    assert started.value == second["process_start_time_seconds"].samples[0].value
    now = SystemClock().now().replace(tzinfo=datetime.UTC).timestamp()
    assert started.value == pytest.approx(now - process.usage().uptime_s, abs=5)
