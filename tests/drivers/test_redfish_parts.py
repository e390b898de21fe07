"""What Redfish machines are made of, and what can be set of them, against simulated ones that have it all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ironic_lite import config, errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.bios import Setting
from ironic_lite.domain.firmware import Component
from ironic_lite.domain.indicators import Indicator, Light, Part
from ironic_lite.domain.inventory import Cpu, Disk, Interface, Memory, properties
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootMode
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import Attempt
from ironic_lite.drivers.redfish.walk import MEMBERS_LIMIT, REQUESTS_LIMIT
from ironic_lite.drivers.settling import finish
from tests.clocks import HeldClock
from tests.drivers.conftest import UUID, attempt, deadline
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.parts.scripted_bmc import RESET, ScriptedBmc, scripted_bmc

ROOT = {"Id": "Root", "RedfishVersion": "1.6.0", "Systems": {"@odata.id": "/redfish/v1/Systems"}}
ALL = (Light.BLINKING, Light.OFF, Light.ON)


@pytest.fixture(scope="module")
def process() -> Iterator[FleetProcess]:
    with fleet(1, first_address="127.84.0.1") as running:
        yield running


@pytest.fixture
def node(process: FleetProcess) -> Node:
    """A machine that is off, as DMTF says, and was asked nothing yet."""
    [bmc] = process.bmcs
    process.set_quirks(bmc)
    process.order(reset="ForceOff")
    process.clear_counts(bmc)
    return node_at(bmc.url)


def node_at(url: str) -> Node:
    info = {"redfish_address": url, "redfish_username": USERNAME, "redfish_password": PASSWORD}
    return Node(uuid=UUID, name="n1", driver="redfish", driver_info=info)


def test_an_inspection_finds_what_ironics_does(process: FleetProcess, node: Node) -> None:
    """The figures are what Ironic 39.0.0 wrote of this very machine."""
    [bmc] = process.bmcs
    found = registry.inspect(node).inspect(node, deadline())
    assert found.document() == {
        "memory": {"physical_mb": 262144},
        "cpu": {"count": 96, "architecture": "x86_64", "model_name": "Simulated CPU", "frequency": "3200"},
        "disks": [
            {
                "name": f"Drive {number}",
                "size": 960000000000,
                "vendor": "Fleet",
                "model": "Simulated Drive",
                "serial": f"{bmc.serial}-D{number}",
                "rotational": False,
            }
            for number in (1, 2)
        ],
        "interfaces": [
            {"mac_address": f"02:74:a9:3e:cc:e{port}", "name": f"NIC1-{port + 1}", "speed_mbps": 25000}
            for port in (0, 1)
        ],
        "system_vendor": {
            "product_name": "Simulated Server 1U",
            "serial_number": bmc.serial,
            "manufacturer": "Fleet",
            "system_uuid": "46ddd414-76c3-5f18-9b0e-1b504d17fced",
        },
        "boot": {"current_boot_mode": "uefi"},
    }
    assert properties("n1", found, {})["local_gb"] == 893
    counts = process.counts(bmc)
    assert not [kind for kind in counts if not kind.startswith("GET ") and kind != "POST sessions"]
    assert sum(counts.values()) <= 16


def test_bios_settings_come_with_what_they_may_be(process: FleetProcess, node: Node) -> None:
    [bmc] = process.bmcs
    found = {one.name: one for one in registry.bios(node).settings(node, deadline())}
    assert list(found) == sorted(found)
    assert found["BootMode"] == Setting(
        "BootMode", "Uefi", "Enumeration", ["Uefi", "Bios"], read_only=False, reset_required=True
    )
    assert found["BootTimeoutSeconds"] == Setting(
        "BootTimeoutSeconds", "5", "Integer", [], 0, 3600, read_only=False, reset_required=True
    )
    assert found["AssetTag"] == Setting(
        "AssetTag", bmc.serial, "String", [], min_length=0, max_length=63, read_only=False, unique=True
    )
    assert (found["MemTest"].value, found["AdminPassword"].value) == ("false", None)
    assert found["SystemBiosVersion"].read_only is True
    assert sum(count for kind, count in process.counts(bmc).items() if kind.startswith("GET ")) <= 9


def test_firmware_is_named_as_ironic_names_it(process: FleetProcess, node: Node) -> None:
    [bmc] = process.bmcs
    assert registry.firmware(node).components(node, deadline()) == [
        Component("bios", "2.4.1"),
        Component("bmc", "1.0.0", model="Simulated Server 1U BMC"),
        Component(f"nic:{bmc.serial}-N1", "22.31.6", "Fleet", "Simulated NIC", f"{bmc.serial}-N1"),
    ]
    assert "GET update-service" not in process.counts(bmc)


def test_indicators_of_both_kinds_are_set_and_read(node: Node) -> None:
    management = registry.management(node)
    assert management.indicators(node, deadline()) == [
        Indicator("1", Part.SYSTEM, readonly=False, states=list(ALL)),
        Indicator("1", Part.CHASSIS, readonly=False, states=list(ALL)),
        Indicator("1:1", Part.DISK, readonly=False, states=[Light.OFF, Light.ON]),
        Indicator("1:2", Part.DISK, readonly=False, states=[Light.OFF, Light.ON]),
    ]
    for one in management.indicators(node, deadline()):
        for light in reversed(one.states):
            management.set_indicator(node, one.name, one.component, light, attempt())
            assert management.indicator(node, one.name, one.component, deadline()) == light
        management.set_indicator(node, one.name, one.component, Light.OFF, attempt())
    with pytest.raises(
        errors.UnsupportedByDriver, match="state blinking of indicator 1:1@disk; supported are: off, on"
    ):
        management.set_indicator(node, "1:1", Part.DISK, Light.BLINKING, attempt())


def test_an_interrupt_is_sent_once(process: FleetProcess, node: Node) -> None:
    [bmc] = process.bmcs
    process.order(reset="On")
    registry.management(node).inject_nmi(node, attempt())
    assert process.ledger(bmc)[-2:] == [("front-panel", "On"), ("redfish", "Nmi")]


def test_an_interrupt_of_a_machine_that_is_off_is_the_bmcs_to_refuse(process: FleetProcess, node: Node) -> None:
    before = len(process.ledger(process.bmcs[0]))
    with pytest.raises(errors.BMCError, match="in standby"):
        registry.management(node).inject_nmi(node, attempt())
    assert len(process.ledger(process.bmcs[0])) == before


def set_mode(node: Node, mode: BootMode, work: Attempt) -> None:
    finish(registry.management(node).set_boot_mode(node, mode, work), work)


def set_secure(node: Node, on: bool, work: Attempt) -> None:  # noqa: FBT001  # the setting's value
    finish(registry.management(node).set_secure_boot(node, on, work), work)


def set_and_look(node: Node, mode: BootMode, *, secure: bool) -> tuple[BootMode | None, bool | None]:
    management = registry.management(node)
    set_mode(node, mode, attempt())
    set_secure(node, secure, attempt())
    return registry.power(node).read(node, deadline()).boot_mode, management.secure_boot(node, deadline())


@pytest.mark.parametrize("quirks", [(), ("needs-enabled",)])
def test_modes_that_show_at_once_need_no_restart(process: FleetProcess, node: Node, quirks: tuple[str, ...]) -> None:
    [bmc] = process.bmcs
    before = process.ledger(bmc)
    process.set_quirks(bmc, *quirks)
    if quirks:  # as Supermicro's are, which the System's Manufacturer does not say here
        with pytest.raises(errors.BMCError, match="BootSourceOverrideEnabled is required"):
            set_mode(node, BootMode.BIOS, attempt())
        return
    assert set_and_look(node, BootMode.BIOS, secure=False) == (BootMode.BIOS, False)
    assert set_and_look(node, BootMode.UEFI, secure=True) == (BootMode.UEFI, True)
    assert set_and_look(node, BootMode.UEFI, secure=False) == (BootMode.UEFI, False)
    assert process.ledger(bmc) == before


@pytest.mark.parametrize("power", ["Off", "On"])
def test_modes_that_show_after_a_boot_are_waited_for(process: FleetProcess, node: Node, power: str) -> None:
    [bmc] = process.bmcs
    process.set_quirks(bmc, "mode-at-boot")
    process.order(reset="On" if power == "On" else "ForceOff")
    management = registry.management(node)
    set_secure(node, True, attempt())
    assert management.secure_boot(node, deadline()) is True
    set_secure(node, False, attempt())
    assert management.secure_boot(node, deadline()) is False
    sent = [reset for by, reset in process.ledger(bmc)[-4 if power == "Off" else -2 :] if by == "redfish"]
    assert sent == (["On", "ForceOff"] * 2 if power == "Off" else ["ForceRestart"] * 2)
    assert process.rule("GET", "/power")["power"][bmc.address] == power


def test_nothing_is_waited_for_where_the_options_say_so(process: FleetProcess, node: Node) -> None:
    [bmc] = process.bmcs
    process.set_quirks(bmc, "mode-at-boot")
    before = process.ledger(bmc)
    config.CONF.set_override("boot_mode_config_timeout", 0, "redfish")
    try:
        set_mode(node, BootMode.BIOS, attempt())
    finally:
        config.CONF.clear_override("boot_mode_config_timeout", "redfish")
    assert process.ledger(bmc) == before
    process.order(reset="On")
    assert registry.power(node).read(node, deadline()).boot_mode == BootMode.BIOS
    process.set_quirks(bmc)
    set_mode(node, BootMode.UEFI, attempt())


def test_a_mode_that_never_shows_is_an_error(stubborn: Node) -> None:
    waited = list[float]()
    clock = HeldClock()

    def pause(seconds: float) -> None:
        waited.append(seconds)
        clock.advance(seconds)

    work = Attempt(Deadline(clock, 100), permit=lambda: None, pause=pause, report=lambda _text: None)
    text = r'Node n1 .* does not show boot mode "uefi" 100 s after it was set, although it was restarted[.]'
    with pytest.raises(errors.SettingUnsettled, match=text):
        set_mode(stubborn, BootMode.UEFI, work)
    assert 70 < sum(waited) < 100
    assert len(waited) < 12


@pytest.fixture
def bmc() -> Iterator[ScriptedBmc]:
    with scripted_bmc() as running:
        yield running


@pytest.fixture
def scripted(bmc: ScriptedBmc) -> Node:
    return Node(uuid=UUID, name="n1", driver="redfish", driver_info=bmc.driver_info())


@pytest.fixture
def stubborn(bmc: ScriptedBmc, scripted: Node) -> Node:
    """A machine that says that it boots by BIOS, whatever it is told."""
    bmc.script.system["Boot"] = {"BootSourceOverrideMode": "Legacy"}
    return scripted


def tell(bmc: ScriptedBmc, **documents: Any) -> None:
    """What is linked from the System under each name, and at each path."""
    for name, document in documents.items():
        bmc.script.system[name] = {"@odata.id": f"/{name}"}
        bmc.script.answers[f"/{name}"] = 200, json.dumps(document).encode()


def listed(*members: dict[str, Any]) -> dict[str, Any]:
    """A collection that has its members whole."""
    return {"Members": [{"@odata.id": f"/{number}", **one} for number, one in enumerate(members)]}


def test_odd_parts_are_told_as_they_are(bmc: ScriptedBmc, scripted: Node) -> None:
    bmc.script.system["Model"] = "  "
    tell(
        bmc,
        Memory=listed({"CapacityMiB": 1024}, {"CapacityMiB": None}, {"CapacityMiB": 512}),
        Processors=listed(
            {"ProcessorType": "GPU", "TotalCores": 4096},
            {"ProcessorType": "CPU", "Status": {"State": "Absent"}},
            {"ProcessorType": "CPU", "InstructionSet": "ARM-A64", "TotalCores": 8, "MaxSpeedMHz": 2400.5},
            {"InstructionSet": None, "TotalThreads": None},
        ),
        SimpleStorage=listed({"Devices": [{"Name": "bay", "CapacityBytes": 0}, {"Name": "d", "CapacityBytes": 9}]}),
        EthernetInterfaces=listed(
            {"Id": "ib0", "MACAddress": "00:11:22:33:44:55:66:77"},
            {"Id": "broken", "MACAddress": "02:00:00:00:00:01", "Status": {"Health": "Critical"}},
            {"Id": "spare", "MACAddress": None},
            {"Id": "a\x00b", "PermanentMACAddress": "02-00-00-00-00-AA", "SpeedMbps": 2.5},
        ),
    )
    found = registry.inspect(scripted).inspect(scripted, deadline())
    assert (found.memory, found.cpu) == (Memory(1536), Cpu(9, "aarch64", None, "2400.5"))
    assert found.disks == [Disk("d", 9)]
    assert found.interfaces == [Interface("02:00:00:00:00:aa", "ab")]
    assert found.system_vendor.product_name is None


@pytest.mark.parametrize("answer", [404, 500, 501])
def test_what_a_bmc_does_not_have_is_left_out(bmc: ScriptedBmc, scripted: Node, answer: int) -> None:
    for name in ("Memory", "Processors", "Storage", "SimpleStorage", "EthernetInterfaces", "Bios", "SecureBoot"):
        bmc.script.system[name] = {"@odata.id": f"/{name}"}
        bmc.script.answers[f"/{name}"] = answer, b"{}"
    found = registry.inspect(scripted).inspect(scripted, deadline())
    assert (found.memory, found.cpu, found.disks, found.interfaces) == (None, None, [], [])
    assert registry.bios(scripted).settings(scripted, deadline()) == []
    assert registry.firmware(scripted).components(scripted, deadline()) == []
    assert registry.management(scripted).indicators(scripted, deadline()) == []


@pytest.mark.parametrize(
    "documents",
    [
        {"Processors": {"Members": 7}},
        {"Processors": listed({"TotalThreads": "many"})},
        {"Memory": {"Members": [7]}},
        {"EthernetInterfaces": ["no object"]},
        {"Storage": listed({"Drives": [{"@odata.id": 7}]})},
    ],
)
def test_nonsense_is_an_error_of_the_bmc(bmc: ScriptedBmc, scripted: Node, documents: dict[str, Any]) -> None:
    tell(bmc, **documents)
    with pytest.raises(errors.BMCError, match="what Redfish defines"):
        registry.inspect(scripted).inspect(scripted, deadline())


def test_half_an_inspection_is_none(bmc: ScriptedBmc, scripted: Node) -> None:
    tell(bmc, Processors=listed({"TotalThreads": 4}), EthernetInterfaces={})
    bmc.script.hangs.add("/EthernetInterfaces")
    with pytest.raises(errors.BMCUnreachable):
        registry.inspect(scripted).inspect(scripted, deadline(1.0))


def test_a_bmc_that_lists_without_end_is_left(bmc: ScriptedBmc, scripted: Node) -> None:
    links = [{"@odata.id": f"/s{number}"} for number in range(1000)]
    tell(bmc, Storage={"Members": links})
    for one in links[:MEMBERS_LIMIT]:
        bmc.script.answers[one["@odata.id"]] = 200, json.dumps({"Drives": links}).encode()
    with pytest.raises(errors.BMCError):
        registry.inspect(scripted).inspect(scripted, deadline(60))
    assert len(bmc.script.requests) <= REQUESTS_LIMIT + 10


def test_settings_without_a_registry_are_told_as_they_are(bmc: ScriptedBmc, scripted: Node) -> None:
    attributes = {"b": True, "i": 7, "f": 1.5, "n": None, "long" * 100: "name", "": "empty"}
    tell(bmc, Bios={"AttributeRegistry": "Missing.v1", "Attributes": attributes})
    assert registry.bios(scripted).settings(scripted, deadline()) == [
        Setting("b", "true"),
        Setting("f", "1.5"),
        Setting("i", "7"),
        Setting("n", None),
    ]


def test_the_registry_is_found_by_its_name_among_many(bmc: ScriptedBmc, scripted: Node) -> None:
    paths = [f"/r/{number}" for number in range(9)]
    files: dict[str, Any] = {path: {"Id": path, "Registry": "Other"} for path in paths}
    files["/r/7"] = {"Registry": "Mine.v1", "Location": [{"Language": "de"}, {"Language": "en", "Uri": "/mine"}]}
    files["/mine"] = {"RegistryEntries": {"Attributes": [{"AttributeName": "a", "Type": "String", "MinLength": "?"}]}}
    files["/r"] = {"Members": [{"@odata.id": path} for path in paths]}
    files["/redfish/v1/"] = {**ROOT, "Registries": {"@odata.id": "/r"}}
    tell(bmc, Bios={"AttributeRegistry": "Mine.v1", "Attributes": {"a": "x", "b": "y"}})
    for path, document in files.items():
        bmc.script.answers[path] = 200, json.dumps(document).encode()
    assert registry.bios(scripted).settings(scripted, deadline()) == [
        Setting("a", "x", "String", []),
        Setting("b", "y"),
    ]


def test_versions_come_from_the_list_of_firmware_where_resources_do_not_tell(bmc: ScriptedBmc, scripted: Node) -> None:
    bmc.script.system["Links"] = {"ManagedBy": [{"@odata.id": "/m"}], "Chassis": [{"@odata.id": "/c"}]}
    documents: dict[str, Any] = {
        "/m": {"@odata.id": "/m", "FirmwareVersion": None},
        "/c": {"@odata.id": "/c", "NetworkAdapters": {"@odata.id": "/n"}},
        "/n": listed({"@odata.id": "/n/1", "Id": "N1"}, {"@odata.id": "/n/2", "Id": "N2"}),
        "/f": listed(
            {"Version": "b1", "RelatedItem": [{"@odata.id": "/Bios"}]},
            {"Version": "m1", "RelatedItem": [{"@odata.id": "/other"}, {"@odata.id": "/m"}]},
            {"Version": "n1", "RelatedItem": [{"@odata.id": "/n/1"}]},
            {"Version": None, "RelatedItem": [{"@odata.id": "/n/2"}]},
        ),
        "/u": {"FirmwareInventory": {"@odata.id": "/f"}},
        "/redfish/v1/": {**ROOT, "UpdateService": {"@odata.id": "/u"}},
    }
    tell(bmc, Bios={})
    for path, document in documents.items():
        bmc.script.answers[path] = 200, json.dumps(document).encode()
    found = registry.firmware(scripted).components(scripted, deadline())
    assert found == [Component("bios", "b1"), Component("bmc", "m1"), Component("nic:N1", "n1")]
    assert bmc.script.sent("GET /f") == 1


def test_secure_boot_that_is_not_there_is_refused(scripted: Node) -> None:
    management = registry.management(scripted)
    assert management.secure_boot(scripted, deadline()) is None
    with pytest.raises(errors.UnsupportedByDriver, match="does not support secure boot; supported are: boot mode"):
        set_secure(scripted, True, attempt())


def test_an_interrupt_that_is_not_offered_is_refused(bmc: ScriptedBmc, scripted: Node) -> None:
    with pytest.raises(errors.UnsupportedByDriver, match="Nmi; supported are: ForceOff"):
        registry.management(scripted).inject_nmi(scripted, attempt())
    assert bmc.script.sent(f"POST {RESET}") == 0
