"""The functional tests that ship in openstacksdk's wheel, unmodified: those of the resources that are here."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess  # noqa: TID251  # a suite of its own runs in a process of its own
import sys
from pathlib import Path

import pytest

from tests.parts.service import service

pytestmark = pytest.mark.timeout(300)

SUITE = "openstack.tests.functional.baremetal.v1"
PARTS = {
    "test_allocation": 7,
    "test_conductor": 1,
    "test_driver": 5,
    "test_node::TestBareMetalNode": 13,
    "test_node::TestBareMetalNodeFields": 1,
    "test_node::TestBareMetalNodeInstanceName": 3,
    "test_node::TestBareMetalNodeListFirmware": 1,
    "test_node::TestNodeRetired": 2,
    "test_node::TestTraits": 2,
    "test_port": 7,
}
CLOUD = """
  {name}:
    auth_type: none
    auth: {{endpoint: "{url}"}}
    baremetal_endpoint_override: "{url}"
    has_compute: false
    has_image: false
    has_network: false
    has_identity: false
    has_object_store: false
    has_block_storage: false
"""


def test_openstacksdks_own_tests_pass(tmp_path: Path) -> None:
    if importlib.util.find_spec("oslotest") is None:
        assert not os.environ.get("CI"), "oslotest is not installed"
        pytest.skip("oslotest is not installed")
    nothing = tmp_path / "pytest.ini"
    nothing.write_text("[pytest]\n")  # or our own settings would be found above the wheel
    with service(tmp_path / "service") as running:
        clouds = tmp_path / "clouds.yaml"
        names = ("devstack", "devstack-alt", "devstack-admin", "devstack-system-admin")
        clouds.write_text("clouds:\n" + "".join(CLOUD.format(name=name, url=running.url) for name in names))
        chosen = ["--pyargs", *(f"{SUITE}.{part}" for part in PARTS)]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-c", str(nothing), "-p", "no:cacheprovider", "--tb=short", *chosen],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={
                **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                "OS_CLIENT_CONFIG_FILE": str(clouds),
                "OS_CLOUD": "devstack-admin",
                "OPENSTACKSDK_FUNC_TEST_TIMEOUT": "60",
                "OS_TEST_TIMEOUT": "120",
            },
        )
        log = running.log()
    summary = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.match(rf"{sum(PARTS.values())} passed(, \d+ warnings?)? in ", summary), summary
    assert "Traceback" not in log
