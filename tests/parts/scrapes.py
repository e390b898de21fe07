"""A scrape as Prometheus's own parser reads it."""

from __future__ import annotations

import http.client

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from ironic_lite import options
from ironic_lite.metrics import CONTENT_TYPE, FAMILIES

options.declare()  # which imports every module that declares a family

Series = frozenset[tuple[str, str]]


class Scrape:
    """What one scrape said; reading it fails when a family comes twice, or without its help and type."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.families, f"{family.name} comes in two parts."
            assert family.documentation, f"{family.name} has no help."
            assert family.type in ("gauge", "counter", "histogram"), f"{family.name} has no type."
            self.families[family.name] = family
        declared = {name.removesuffix("_total") if one.kind == "counter" else name for name, one in FAMILIES.items()}
        named_by_sensors = {name for name in self.families if name.startswith("baremetal_")}
        assert self.families.keys() - named_by_sensors <= declared

    def series(self, name: str) -> dict[Series, float]:
        """The samples of that name by their labels."""
        samples = [one for family in self.families.values() for one in family.samples if one.name == name]
        return {frozenset(one.labels.items()): one.value for one in samples}

    def value(self, name: str, **labels: str) -> float:
        """The one sample that has (at least) these labels."""
        (value,) = (value for series, value in self.series(name).items() if series >= labels.items())
        return value

    def counters(self) -> dict[tuple[str, Series], float]:
        """Everything that may only grow."""
        return {
            (one.name, frozenset(one.labels.items())): one.value
            for family in self.families.values()
            if family.type != "gauge"
            for one in family.samples
        }

    def workers(self) -> set[str]:
        """Who has series beside the one that says whether it is up."""
        return {
            one.labels["worker"]
            for family in self.families.values()
            if family.name != "ironic_lite_worker_up"
            for one in family.samples
        }


def scraped(port: int, timeout_s: float = 20.0) -> Scrape:
    """A scrape of /metrics there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    connection.request("GET", "/metrics", headers={"Accept": "text/plain;version=0.0.4"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    assert answer.getheader("Content-Type") == CONTENT_TYPE
    return Scrape(text)
