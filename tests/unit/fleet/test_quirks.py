"""Each vendor's peculiarity as a client meets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import FleetProcess, fleet
from tests.waiting import until

SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
PXE = {"BootSourceOverrideTarget": "Pxe"}
ONCE = {"BootSourceOverrideEnabled": "Once"}


@pytest.fixture
def process() -> Iterator[FleetProcess]:
    with fleet(power_delay=0.5) as running:
        yield running


@pytest.fixture
def bmc(process: FleetProcess) -> Bmc:
    return process.bmcs[0]


def power(process: FleetProcess, bmc: Bmc) -> object:
    return process.ask(bmc, "GET", SYSTEM).document["PowerState"]


def test_a_reset_to_the_state_that_is_there_is_a_conflict_for_some(process: FleetProcess, bmc: Bmc) -> None:
    off = {"ResetType": "ForceOff"}
    assert process.ask(bmc, "POST", RESET, off).status == 204
    process.set_quirks(bmc, "already-there")
    assert process.ask(bmc, "POST", RESET, off).status == 409
    assert process.ask(bmc, "POST", RESET, {"ResetType": "On"}).status == 204


def test_some_allow_no_boot_override_while_the_machine_starts(process: FleetProcess, bmc: Bmc) -> None:
    process.set_quirks(bmc, "post-lock")
    process.ask(bmc, "POST", RESET, {"ResetType": "On"})
    answer = process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE})
    assert answer.status == 400
    assert "UnableToModifyDuringSystemPOST" in answer.document["error"]["code"]
    until(lambda: power(process, bmc) == "On")
    assert process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE}).status == 204


def test_some_always_want_to_be_told_for_how_long(process: FleetProcess, bmc: Bmc) -> None:
    process.set_quirks(bmc, "needs-enabled")
    assert process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE}).status == 400
    assert process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE}).status == 204


def test_some_set_the_boot_mode_back_with_the_device(process: FleetProcess, bmc: Bmc) -> None:
    process.set_quirks(bmc, "mode-follows")
    process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE})
    assert process.ask(bmc, "GET", SYSTEM).document["Boot"]["BootSourceOverrideMode"] == "Legacy"
    process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE | {"BootSourceOverrideMode": "UEFI"}})
    assert process.ask(bmc, "GET", SYSTEM).document["Boot"]["BootSourceOverrideMode"] == "UEFI"


def test_an_unknown_quirk_is_refused_and_the_known_ones_are_named(process: FleetProcess, bmc: Bmc) -> None:
    answer = process.ask(bmc, "PUT", "/fleet/quirks", {"quirks": ["moody"]})
    assert answer.status == 400
    assert "post-lock" in answer.document["error"]
