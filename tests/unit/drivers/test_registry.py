"""The drivers by name."""

from __future__ import annotations

import subprocess  # noqa: TID251  # only a fresh interpreter tells what an import brings along
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.domain.node import INTERFACE_KINDS, Node
from ironic_lite.drivers import registry


def node(driver: str, **more: Any) -> Node:
    return Node(uuid="u", driver=driver, **more)


def test_every_driver_says_what_it_has_of_every_kind() -> None:
    for hardware_type in registry.HARDWARE_TYPES:
        assert set(hardware_type.interfaces) == set(INTERFACE_KINDS)


def test_importing_it_imports_no_bmc_library() -> None:
    code = (
        "import sys, ironic_lite.drivers.registry as r; r.load('redfish'); r.default_interfaces('ipmi'); "
        "print(*{'sushy', 'pyghmi', 'requests', 'oslo_config'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() in ("", "oslo_config")


def test_loading_a_driver_starts_no_thread_and_opens_no_socket() -> None:
    code = (
        "import sys, threading, ironic_lite.drivers.registry as r\n"
        "sys.addaudithook(lambda event, args: event.startswith('socket.') and print(event))\n"
        "[r.properties(t.name) for t in r.HARDWARE_TYPES]; print(threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    # Among the imported libraries urllib3 probes IPv6 and the resolver's name once; nothing connects.
    assert "socket.connect" not in done.stdout
    assert "socket.sendto" not in done.stdout
    assert done.stdout.split("\n")[-2] == "1"


def test_an_implementation_is_one_object_for_all_threads() -> None:
    found: list[object] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait(10)
        found.append(registry.power(node("fake-hardware")))

    threads = [threading.Thread(target=ask) for _ in range(8)]  # noqa: TID251  # callers side by side
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_a_driver_that_is_not_there() -> None:
    asks: list[Callable[[str], object]] = [registry.load, registry.properties, registry.default_interfaces]
    for ask in asks:
        with pytest.raises(errors.DriverNotFound, match="ilo"):
            ask("ilo")
    with pytest.raises(errors.DriverNotFound):
        registry.power(node("ilo"))


def test_an_interface_that_a_driver_does_not_have_is_told_with_what_is_allowed() -> None:
    with pytest.raises(errors.Invalid, match=r"power_interface 'ipmitool' .* 'redfish'; allowed are: redfish"):
        registry.check_interface("redfish", "power", "ipmitool")
    with pytest.raises(errors.Invalid, match=r"boot_interface .* allowed are: none"):
        registry.check_interface("ipmi", "boot", "pxe")
    with pytest.raises(errors.Invalid):
        registry.management(node("ipmi", management_interface="redfish"))
    registry.check_interface("fake-hardware", "storage", "fake")


def test_defaults_are_the_first_of_each_kind() -> None:
    assert registry.default_interfaces("redfish") == {
        "bios": "redfish",
        "boot": None,
        "console": "no-console",
        "deploy": "noop",
        "firmware": "redfish",
        "inspect": "redfish",
        "management": "redfish",
        "network": "noop",
        "power": "redfish",
        "raid": "no-raid",
        "rescue": "no-rescue",
        "storage": "noop",
        "vendor": "no-vendor",
    }
    assert registry.default_interfaces("ipmi")["power"] == "ipmitool"
    assert registry.default_interfaces("fake-hardware")["network"] == "noop"


def test_properties_are_every_key_with_its_meaning() -> None:
    assert list(registry.properties("redfish")) == [
        "redfish_address",
        "redfish_auth_type",
        "redfish_password",
        "redfish_system_id",
        "redfish_username",
        "redfish_verify_ca",
    ]
    assert "ipmi_hex_kg_key" in registry.properties("ipmi")
    assert registry.properties("fake-hardware") == {}
    meanings = [*registry.properties("redfish").values(), *registry.properties("ipmi").values()]
    assert all(meaning.endswith(".") for meaning in meanings)
