"""What driver_info may say."""

from __future__ import annotations

from typing import Any

import pytest

from ironic_lite import config, errors
from ironic_lite.domain.node import Node
from ironic_lite.drivers.ipmi import account as ipmi
from ironic_lite.drivers.redfish import account as redfish

SECRET = "secret-7"


@pytest.fixture(scope="module", autouse=True)
def options() -> None:
    config.load([], program="tests", files=[])


def parse(module: Any, **info: object) -> Any:
    return module.account(Node(uuid="u", driver="x", driver_info=info))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("bmc.example", ("https", "bmc.example", 443, "/redfish/v1/")),
        ("http://bmc.example", ("http", "bmc.example", 80, "/redfish/v1/")),
        ("https://192.0.2.1:8443/", ("https", "192.0.2.1", 8443, "/redfish/v1/")),
        ("192.0.2.1:8443", ("https", "192.0.2.1", 8443, "/redfish/v1/")),
        ("[2001:db8::1]", ("https", "2001:db8::1", 443, "/redfish/v1/")),
        ("2001:db8::1", ("https", "2001:db8::1", 443, "/redfish/v1/")),
        ("fe80::1%eth0", ("https", "fe80::1%eth0", 443, "/redfish/v1/")),
        ("http://[fe80::1%25eth0]:8000", ("http", "fe80::1%eth0", 8000, "/redfish/v1/")),
        ("https://bmc.example/api/redfish", ("https", "bmc.example", 443, "/api/redfish/")),
    ],
)
def test_redfish_addresses(address: str, expected: Any) -> None:
    found = parse(redfish, redfish_address=address)
    assert (found.scheme, found.host, found.port, found.root) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("bmc.example", "bmc.example"),
        ("http://bmc.example:443", "bmc.example:443"),
        ("https://192.0.2.1:8443", "192.0.2.1:8443"),
        ("fe80::1%eth0", "[fe80::1]"),
        ("http://[fe80::1%eth0]:8000", "[fe80::1]:8000"),
    ],
)
def test_a_host_header_has_no_zone_and_no_usual_port(address: str, expected: str) -> None:
    assert parse(redfish, redfish_address=address).authority == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), ("true", True), ("False", False), ("no", False), ("/etc", "/etc")],
)
def test_redfish_verify_ca(value: Any, expected: Any) -> None:
    assert parse(redfish, redfish_address="bmc", redfish_verify_ca=value).verify == expected


def test_redfish_tells_every_problem_at_once() -> None:
    with pytest.raises(errors.InvalidDriverInfo) as caught:
        parse(
            redfish,
            redfish_system_id="1",
            redfish_username="me",
            redfish_verify_ca="/no/such/file",
            redfish_auth_type="digest",
        )
    for field in ("address", "system_id", "password", "verify_ca", "auth_type"):
        assert f"redfish_{field}" in str(caught.value)


@pytest.mark.parametrize("address", [f"https://me:{SECRET}@bmc", f"ftp://me:{SECRET}@bmc", f"http://me:{SECRET}@bmc:x"])
def test_credentials_in_an_address_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(errors.InvalidDriverInfo, match="redfish_address") as caught:
        parse(redfish, redfish_address=address)
    assert SECRET not in str(caught.value)


def test_an_account_as_text_is_its_address() -> None:
    assert SECRET not in repr(
        parse(redfish, redfish_address="bmc", redfish_username="me", redfish_password=SECRET)
    ) + repr(parse(ipmi, ipmi_address="bmc", ipmi_password=SECRET))


def test_ipmi_defaults() -> None:
    found = parse(ipmi, ipmi_address="bmc")
    assert (found.port, found.username, found.password, found.privilege, found.cipher_suite) == (
        623,
        b"",
        b"",
        None,
        None,
    )


@pytest.mark.parametrize("port", [6230, "6230", " 6230 "])
def test_ipmi_port_is_a_number_or_a_text(port: Any) -> None:
    assert parse(ipmi, ipmi_address="bmc", ipmi_port=port).port == 6230


def test_ipmi_kg_is_hexadecimal() -> None:
    assert parse(ipmi, ipmi_address="bmc", ipmi_hex_kg_key="00FF").kg == b"\x00\xff"


def test_ipmi_tells_every_problem_at_once() -> None:
    wrong = {
        "ipmi_port": 70000,
        "ipmi_username": "longer than sixteen",
        "ipmi_password": SECRET * 4,
        "ipmi_priv_level": "ROOT",
        "ipmi_cipher_suite": 0,
        "ipmi_protocol_version": "1.5",
        "ipmi_hex_kg_key": f"{SECRET}",
        "ipmi_bridging": "single",
    }
    with pytest.raises(errors.InvalidDriverInfo) as caught:
        parse(ipmi, **wrong)
    for key in ("ipmi_address", *wrong):
        assert key in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("version", ["2.0", 2.0])
def test_ipmi_version_2_is_accepted(version: Any) -> None:
    assert parse(ipmi, ipmi_address="bmc", ipmi_protocol_version=version).host == "bmc"
