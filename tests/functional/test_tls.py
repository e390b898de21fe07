"""The service as a whole under TLS: REST and JSON-RPC, unmodified clients, renewed certificates, wrong files."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import openstack
import pytest

from tests.parts.certificates import Authority, Pair
from tests.parts.service import Service, run, service
from tests.waiting import until

pytestmark = [
    pytest.mark.timeout(180),
    # openstacksdk's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

UNREAD_MIB = 300


def files(pair: Pair) -> dict[str, object]:
    return {"cert_file": pair.certificate, "key_file": pair.key}


def subject(authority: Authority, port: int) -> str:
    """Whom the server on the port says to be."""
    context = ssl.create_default_context(cafile=authority.path)
    with (
        socket.create_connection(("127.0.0.1", port), 20) as wire,
        context.wrap_socket(wire, server_hostname="127.0.0.1") as tls,
    ):
        names: Any = tls.getpeercert()
    return str(names["subject"][0][0][1])


def peak_kib(pid: int) -> int:
    """The most memory that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def push_unread(running: Service) -> bytes:
    """Send a body that nobody wants until the answer comes, as far as that goes."""
    client = running.client()
    client.putrequest("POST", "/v1/nodes")
    client.putheader("Content-Length", str(UNREAD_MIB << 20))
    client.endheaders()
    for _ in range(UNREAD_MIB):
        if select.select([client.sock], [], [], 0)[0]:
            break
        client.send(b"x" * (1 << 20))
    answer = client.getresponse()
    said = answer.read()
    client.close()
    assert (answer.status, answer.headers["Connection"]) == (413, "close")
    return said


def test_the_whole_service_speaks_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certificates")
    rest, rpc = authority.issue("rest"), authority.issue("rpc")
    options: dict[str, dict[str, object]] = {
        "api": {"enable_ssl_api": True, **files(rest)},
        "json_rpc": {"use_ssl": True, "cafile": authority.path, **files(rpc)},
    }
    with service(tmp_path / "service", **options) as running:
        uuid = running.create("one", extra={"long": "x" * 900_000})
        running.power(uuid, "power on")  # through JSON-RPC
        node = running.get("/v1/nodes/one")
        assert node["links"][0]["href"] == f"https://127.0.0.1:{running.port}/v1/nodes/{uuid}"
        assert len(node["extra"]["long"]) == 900_000
        assert (subject(authority, running.port), subject(authority, running.rpc_port)) == ("rest", "rpc")
        with openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth_type="none",
            endpoint=running.url,
            baremetal_endpoint_override=running.url,
            cacert=str(authority.path),
        ) as cloud:
            assert [each.power_state for each in cloud.baremetal.nodes(details=True)] == ["power on"]

        before = peak_kib(running.pids()["api"])
        assert b"maximum" in push_unread(running)
        assert peak_kib(running.pids()["api"]) - before < 40 << 10

        for name, old in (("rest-2", rest), ("rpc-2", rpc)):
            new = authority.issue(name)
            new.key.replace(old.key)
            new.certificate.replace(old.certificate)
        pids = running.pids()
        os.kill(pids["launcher"], signal.SIGHUP)
        until(lambda: subject(authority, running.port) == "rest-2", 30)
        until(lambda: subject(authority, running.rpc_port) == "rpc-2", 30)
        running.power(uuid, "power off")
        assert running.pids() == pids
    assert "Traceback" not in running.log()


def test_an_api_that_is_started_later_trusts_whom_the_launcher_was_told_of(tmp_path: Path) -> None:
    first, second = (Authority(tmp_path / name) for name in ("first", "second"))
    pair, renewed, trusted = first.issue("rpc"), second.issue("rpc"), tmp_path / "trusted.pem"
    trusted.write_bytes(first.path.read_bytes())
    with service(tmp_path / "service", json_rpc={"use_ssl": True, "cafile": trusted, **files(pair)}) as running:
        uuid = running.create("one")
        renewed.key.replace(pair.key)
        renewed.certificate.replace(pair.certificate)
        trusted.write_bytes(second.path.read_bytes())
        pids = running.pids()
        os.kill(pids["launcher"], signal.SIGHUP)
        until(lambda: running.log().count("The certificates of [json_rpc] were read again.") == 2, 30)
        os.kill(pids["api"], signal.SIGKILL)
        until(lambda: running.log().count("api-1 serves.") == 2, 30)
        running.power(uuid, "power on")


@pytest.mark.parametrize(("section", "switch"), [("api", "enable_ssl_api"), ("json_rpc", "use_ssl")])
def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path, section: str, switch: str) -> None:
    ended = run("ironic-lite", tmp_path, **{section: {switch: True, "cert_file": "/none.crt"}})
    assert ended.code == 1
    assert f"[{section}]cert_file /none.crt cannot be read: No such file or directory." in ended.errors
    assert "Traceback" not in ended.errors
