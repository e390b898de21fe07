"""BMCs that speak TLS, to clients that verify."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import sushy
from sushy import auth

from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, ask, fleet
from tests.waiting import until

SYSTEM = "/redfish/v1/Systems/1"


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls") / "ca.pem"


@pytest.fixture(scope="module")
def process(ca_file: Path) -> Iterator[FleetProcess]:
    with fleet(130, tls=ca_file) as running:  # three certificates
        yield running


def connect(bmc: Bmc, ca_file: Path) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(ca_file))
    return http.client.HTTPSConnection(bmc.address, bmc.port, timeout=10, context=context)


def test_every_bmc_proves_its_own_address(process: FleetProcess, ca_file: Path) -> None:
    for bmc in process.bmcs[::43]:
        assert bmc.url.startswith(f"https://{bmc.address}:")
        kept = connect(bmc, ca_file)
        assert [ask(kept, "GET", SYSTEM).document["SerialNumber"] for _ in range(3)] == [bmc.serial] * 3
        kept.close()
        counts = process.rule("GET", f"/counts?address={bmc.address}")
        assert (counts["connections"], counts["handshakes"], counts["requests"]) == (1, 1, {"GET system": 3})


def test_another_fleets_ca_does_not_vouch_for_it(process: FleetProcess) -> None:
    bmc = process.bmcs[0]
    stranger = http.client.HTTPSConnection(bmc.address, bmc.port, timeout=10, context=ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.connect()


def test_sushy_verifies_it_with_a_session(process: FleetProcess, ca_file: Path) -> None:
    login = auth.SessionAuth(USERNAME, PASSWORD)
    client = sushy.Sushy(process.bmcs[5].url, auth=login, verify=str(ca_file), read_timeout=10)
    system = client.get_system()
    system.reset_system(sushy.ResetType.ON)
    system.refresh()
    assert system.power_state == sushy.PowerState.ON
    login.close()


def test_requests_that_come_in_one_record_are_all_answered(process: FleetProcess, ca_file: Path) -> None:
    bmc = process.bmcs[1]
    opened = connect(bmc, ca_file)
    opened.connect()
    opened.sock.sendall(b"GET /redfish HTTP/1.1\r\n\r\n" * 600 + b"GET /redfish HTTP/1.0\r\n\r\n")
    answers = b"".join(iter(lambda: opened.sock.recv(65536), b""))
    opened.close()
    assert answers.count(b"HTTP/1.1 200 OK") == 601


def test_a_client_that_speaks_no_tls_is_sent_away(process: FleetProcess) -> None:
    bmc = process.bmcs[2]
    with socket.create_connection((bmc.address, bmc.port), timeout=10) as plain:
        plain.sendall(b"GET /redfish HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while plain.recv(4096):  # an alert
                pass
    until(lambda: process.rule("GET", f"/counts?address={bmc.address}")["connected"] == 0)
