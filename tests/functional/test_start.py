"""What an operator reads when the service cannot start, and what does not keep it from starting."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.service import Options, run, service


def refusal(command: str, directory: Path, **options: Options) -> str:
    """The one line with which the command ends."""
    ended = run(command, directory, DEFAULT={"debug": False, **options.pop("DEFAULT", {})}, **options)
    assert (ended.code, ended.output) == (1, ""), ended
    said = [line for line in ended.errors.splitlines() if " INFO " not in line]
    assert len(said) == 1, ended.errors
    return said[0]


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.mark.parametrize("command", ["ironic-lite-api", "ironic-lite-conductor"])
@pytest.mark.parametrize("given", [{}, {"username": "peer"}, {"password": "do-not-tell-7"}])
def test_a_service_alone_needs_credentials(tmp_path: Path, command: str, given: dict[str, object]) -> None:
    said = refusal(command, tmp_path, json_rpc=given)
    assert said.startswith(f"{command}: JSON-RPC is never open: set [json_rpc]username and [json_rpc]password")
    assert "do-not-tell-7" not in said


@pytest.mark.parametrize(
    ("section", "name", "value", "says"),
    [
        ("api", "port", "many", "'many'"),
        ("api", "port", 70000, "Should be less than or equal to 65535"),
        ("conductor", "sync_power_state_interval", -1, "Should be greater than or equal to 0"),
        ("conductor", "force_power_state_during_sync", "perhaps", "'perhaps'"),
        ("fake", "power_delay", "3,1", "'3,1' is neither"),
        ("DEFAULT", "auth_strategy", "open", "noauth"),
    ],
)
def test_a_wrong_value_is_told_with_its_option(
    tmp_path: Path, section: str, name: str, value: object, says: str
) -> None:
    said = refusal("ironic-lite", tmp_path, **{section: {name: value}})
    assert said.startswith(f"ironic-lite: Option [{section}]{name} is not valid: ")
    assert says in said


def test_an_unknown_hardware_type_is_told_with_the_known_ones(tmp_path: Path) -> None:
    ended = run("ironic-lite", tmp_path, DEFAULT={"enabled_hardware_types": "redfish,toaster"})
    assert ended.code == 1
    assert "[DEFAULT]enabled_hardware_types: The driver 'toaster' is unknown." in ended.errors
    assert "Known are: redfish, ipmi, fake-hardware." in ended.errors
    assert "Traceback" not in ended.errors


@pytest.mark.parametrize("section", ["api", "json_rpc"])
def test_a_port_that_is_taken_is_told(tmp_path: Path, section: str) -> None:
    with taken_port() as port:
        said = refusal("ironic-lite", tmp_path, **{section: {"port": port}})
    assert said == f"ironic-lite: Cannot listen on 127.0.0.1:{port}: Address already in use."


@pytest.mark.parametrize("command", ["ironic-lite", "ironic-lite-dbsync"])
def test_a_schema_from_the_future_is_left_alone(tmp_path: Path, command: str) -> None:
    assert run("ironic-lite-dbsync", tmp_path).code == 0
    set_schema(tmp_path, "9999")
    ended = run(command, tmp_path)
    assert ended.code == 1
    said = ended.errors.splitlines()[-1]
    assert said.startswith(f"{command}: ")
    assert "Can't locate revision identified by '9999'; if a newer version of ironic_lite made it, " in said


@pytest.mark.parametrize("command", ["ironic-lite-api", "ironic-lite-conductor"])
def test_a_service_alone_wants_its_own_schema(tmp_path: Path, command: str) -> None:
    assert run("ironic-lite-dbsync", tmp_path).code == 0
    set_schema(tmp_path, "9999")
    ended = run(command, tmp_path, json_rpc={"username": "a", "password": "b"})
    assert ended.code == 1
    assert "The database has schema 9999, and this version needs " in ended.errors
    assert "Traceback" not in ended.errors


def set_schema(directory: Path, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(directory / "ironic.sqlite")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_unknown_options_are_told_and_stop_nobody(tmp_path: Path) -> None:
    strange = {"glance": {"auth_type": "password", "password": "do-not-tell-7"}, "conductor": {"coffee": "black"}}
    with service(tmp_path, **strange) as running:
        assert running.get("/v1/nodes")["nodes"] == []
    told = [line for line in running.log().splitlines() if "is not known to ironic_lite and has no effect" in line]
    for option in ("[glance]auth_type", "[glance]password", "[conductor]coffee"):
        assert [line for line in told if f"Option {option} of {running.config}" in line]
    assert "do-not-tell-7" not in running.log()
