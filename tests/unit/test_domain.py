"""Names, masks and power targets."""

from __future__ import annotations

import pytest

from ironic_lite import errors
from ironic_lite.domain import names
from ironic_lite.domain.masking import masked
from ironic_lite.domain.states import Power, PowerTarget


@pytest.mark.parametrize("text", ["ns~host-0", "a.b_c", "N1", "x" * 255])
def test_names(text: str):
    assert names.node_name(text, 110) == text


@pytest.mark.parametrize("text", ["", "a b", "ü", "x" * 256, "detail", "6b2f0e0e-5d3a-4a52-9d3e-0d7f3f2c1a11"])
def test_what_is_no_name(text: str):
    with pytest.raises(errors.Invalid, match="a name is up to 255 letters"):
        names.node_name(text, 110)


def test_names_were_host_names_before_1_10():
    assert names.is_name("host-0.rack", 9)
    assert not names.is_name("ns~host", 9)


def test_uuid_and_mac_are_normalised():
    assert names.uuid("uuid", "6B2F0E0E5D3A4A529D3E0D7F3F2C1A11") == "6b2f0e0e-5d3a-4a52-9d3e-0d7f3f2c1a11"
    assert names.mac("address", "52-54-00-AA-BB-01") == "52:54:00:aa:bb:01"
    with pytest.raises(errors.Invalid, match="for address but received 'zz'"):
        names.mac("address", "zz")
    with pytest.raises(errors.Invalid, match="Expected a UUID for node_uuid"):
        names.uuid("node_uuid", "n1")


def test_secrets_are_masked_however_deep():
    given = {
        "redfish_password": "x", "ipmi_hex_kg_key": "00", "a": [{"agent_secret_token": "t", "n": 1}],
        "snmp_community": "c", "redfish_username": "admin", "configdrive": "H4sI", "ssl_passphrase": None,
    }  # fmt: skip
    assert masked(given) == {
        "redfish_password": "******", "ipmi_hex_kg_key": "******", "a": [{"agent_secret_token": "******", "n": 1}],
        "snmp_community": "******", "redfish_username": "admin", "configdrive": "******", "ssl_passphrase": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "settles_as", "always", "soft"),
    [
        ("power on", Power.ON, False, False),
        ("power off", Power.OFF, False, False),
        ("rebooting", Power.ON, True, False),
        ("soft rebooting", Power.ON, True, True),
        ("soft power off", Power.OFF, False, True),
    ],
)
def test_power_targets(target: str, settles_as: Power, *, always: bool, soft: bool):
    one = PowerTarget(target)
    assert (one.settles_as, one.always_acts, one.soft) == (settles_as, always, soft)
