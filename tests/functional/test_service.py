"""The service through the death of its processes, its orderly end, and strangers at its inner door."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.parts.service import Service, service, services_alone
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

SECRET = "do-not-tell-7"
SLOW = {"power_delay": 3}  # seconds, for reading power and for changing it


def begin_reboot(running: Service, name: str = "one") -> str:
    """A node whose power is being changed right now."""
    uuid = running.create(name)
    running.put(f"/v1/nodes/{uuid}/states/power", {"target": "rebooting"})
    node = running.get(f"/v1/nodes/{uuid}")
    assert (node["target_power_state"], node["reservation"]) == ("power on", "here")
    return uuid


def kill(running: Service, name: str) -> int:
    pid = running.pids()[name]
    os.kill(pid, signal.SIGKILL)
    return pid


def is_another(running: Service, name: str, old: int) -> bool:
    return running.pids().get(name, old) != old


def test_a_conductor_killed_in_the_middle_is_back_and_says_what_it_broke_off(tmp_path: Path) -> None:
    with service(tmp_path, fake=SLOW) as running:
        uuid = begin_reboot(running)
        api = running.pids()["api"]
        old = kill(running, "conductor")
        until(lambda: is_another(running, "conductor", old), 30)
        node = running.settled(uuid, 30)
        assert node["last_error"].startswith(f'Changing the power of node {uuid} to "power on" was interrupted: ')
        assert (node["target_power_state"], node["power_state"], node["reservation"]) == (None, None, None)
        [entry] = running.get(f"/v1/nodes/{uuid}/history")["history"]
        assert (entry["severity"], "was interrupted" in entry["event"]) == ("ERROR", True)
        running.power(uuid, "power on")
        assert running.get(f"/v1/nodes/{uuid}")["power_state"] == "power on"
        assert running.pids()["api"] == api


def test_a_killed_api_refuses_no_connection_and_breaks_off_no_work(tmp_path: Path) -> None:
    with service(tmp_path, fake=SLOW) as running:
        uuid = begin_reboot(running)
        conductor = running.pids()["conductor"]
        old = kill(running, "api")
        # Nobody answers for a moment, yet the door is open: who comes now waits, and is served.
        while not is_another(running, "api", old):
            socket.create_connection(("127.0.0.1", running.port), timeout=10).close()
            assert running.get("/v1/nodes")["nodes"]
        node = running.settled(uuid)
        assert (node["power_state"], node["last_error"]) == ("power on", None)
        assert running.pids()["conductor"] == conductor


def test_sigterm_lets_a_power_change_end_well(tmp_path: Path) -> None:
    with service(tmp_path, fake=SLOW) as running:
        uuid = begin_reboot(running)
        # Leaving the block is the SIGTERM; the exit code must be 0.
    with service(tmp_path) as running:
        node = running.get(f"/v1/nodes/{uuid}")
        assert (node["power_state"], node["last_error"]) == ("power on", None)
        assert (node["target_power_state"], node["reservation"]) == (None, None)
        assert "its lock, taken for" not in running.log()


def test_work_that_takes_longer_than_the_end_allows_is_interrupted_and_says_so(tmp_path: Path) -> None:
    with service(tmp_path, fake={"power_delay": 50}, DEFAULT={"graceful_shutdown_timeout": 18}) as running:
        uuid = begin_reboot(running)
    with service(tmp_path) as running:
        node = running.get(f"/v1/nodes/{uuid}")
        assert "was interrupted because the conductor is shutting down" in node["last_error"]
        assert (node["target_power_state"], node["reservation"]) == (None, None)


def ask_rpc(running: Service, authorization: str | None) -> tuple[int, bytes]:
    """A call that would be carried out if it were let in."""
    connection = http.client.HTTPConnection("127.0.0.1", running.rpc_port, timeout=10)
    headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
    body = b'{"jsonrpc": "2.0", "id": "1", "method": "latest_sensors", "params": {"node": "none"}}'
    try:
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


STRANGERS = (None, "Basic", "Basic !", "Bearer x", basic("ironic-lite", ""), basic("", ""), basic("peer", "guess"))


def test_json_rpc_of_the_all_in_one_is_closed_to_strangers(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        assert {ask_rpc(running, stranger) for stranger in STRANGERS} == {(401, b"")}


def test_services_alone_work_together_and_keep_their_secret(tmp_path: Path) -> None:
    with services_alone(tmp_path, json_rpc={"username": "peer", "password": SECRET}) as running:
        pids = running.pids()
        assert sorted(pids) == ["api", "conductor"]
        running.power(running.create("one"), "power on")
        assert {ask_rpc(running, stranger) for stranger in STRANGERS} == {(401, b"")}
        status, answer = ask_rpc(running, basic("peer", SECRET))
        assert (status, b'"error"' in answer) == (200, False)
        for pid in pids.values():
            for name in ("environ", "cmdline"):
                assert SECRET not in Path(f"/proc/{pid}/{name}").read_text()
    assert " DEBUG " in running.log()
    assert SECRET not in running.log()
    assert basic("peer", SECRET).removeprefix("Basic ") not in running.log()


def imported(log: str) -> set[str]:
    """The packages of which any process imported a module, from what Python says with PYTHONPROFILEIMPORTTIME.

    It also names what was tried in vain (futurist asks for eventlet): only a package that is there has submodules.
    """
    lines = [line for line in log.splitlines() if line.startswith("import time:")]
    modules = {line.rpartition("|")[2].strip().partition(".") for line in lines}
    return {package for package, _, submodule in modules if submodule}


def test_no_process_has_green_threads(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with service(tmp_path) as running:
        running.power(running.create("one"), "power on")
        pids = running.pids()
        assert sorted(pids) == ["api", "conductor", "launcher"]
        maps = {name: Path(f"/proc/{pid}/maps").read_text() for name, pid in pids.items()}
    assert [name for name, text in maps.items() if "greenlet" in text] == []
    packages = imported(running.log())
    assert {"oslo_service", "sqlalchemy", "cheroot"} <= packages
    assert {"eventlet", "greenlet", "gevent"} & packages == set()
