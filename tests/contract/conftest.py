"""The API in process, on an empty database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ironic_lite import config
from tests.parts.api import Service, sqlite


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """The defaults, and whatever a test sets with `config.CONF.set_override`."""
    config.load([], program="test", files=[])
    yield
    config.CONF.clear()
    config.CONF.reset()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(sqlite(tmp_path))
    yield made
    made.close()
