"""What is told to Prometheus: by its conventions, and every family in the document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ironic_lite import options
from ironic_lite.metrics import FAMILIES, Family

options.declare()  # which imports every module that declares a family
OURS = sorted((one for name, one in FAMILIES.items() if not name.startswith("test_")), key=lambda one: one.name)
DOCUMENT = (Path(__file__).parents[2] / "docs/metrics.md").read_text()


def row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.kind} | {labels} | {family.help} |"


def test_the_document_tells_of_every_family_and_of_no_other():
    told = [line for line in DOCUMENT.splitlines() if re.match(r"\| `\w+` \| (gauge|counter|histogram) \|", line)]
    assert told == [row(one) for one in OURS]


def test_what_is_asked_in_the_document_is_there():
    named = re.findall(r"\b(?:ironic_lite|process)_\w+", DOCUMENT)
    families = {re.sub(r"_(count|sum|bucket)$", "", name) for name in named}
    assert families - {one.name for one in OURS} == set()


@pytest.mark.parametrize("family", OURS, ids=lambda one: one.name)
def test_a_family_keeps_to_the_conventions(family: Family):
    """https://prometheus.io/docs/practices/naming: base units, and counters end in _total."""
    assert re.fullmatch(r"(ironic_lite|process)_[a-z_]+[a-z]", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert not re.search(r"_(ms|milliseconds|minutes|mib|kib|megabytes)(_|$)", family.name)
    assert re.fullmatch(r"[A-Z].{8,}\.", family.help), family.help
    assert "worker" not in family.labels
    assert not {"node", "uuid", "name", "address", "path", "url"} & {*family.labels}
