"""The fleets of these tests. A file that needs another `process` makes its own."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import FleetProcess, fleet


@pytest.fixture
def process() -> Iterator[FleetProcess]:
    with fleet(2) as running:
        yield running


@pytest.fixture(scope="module")
def steady() -> Iterator[FleetProcess]:
    """One for all tests of a file that change nothing about it."""
    with fleet(1) as running:
        yield running


@pytest.fixture
def bmc(process: FleetProcess) -> Bmc:
    return process.bmcs[0]


@pytest.fixture
def connection(bmc: Bmc) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection(bmc.address, bmc.port, timeout=10)
    yield opened
    opened.close()
