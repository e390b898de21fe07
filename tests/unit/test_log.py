"""What never reaches a log, whatever the options say. Logging is global, so whole processes are tested."""

from __future__ import annotations

import json
import os
import subprocess  # noqa: TID251  # a fresh interpreter is what is tested
import sys
from pathlib import Path

import pytest

from ironic_lite.log import masked

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging, sys
from ironic_lite import config, log
log.register()
config.load(sys.argv[1:], program="test", files=[])
log.setup("test")
LOG = logging.getLogger("ironic_lite.test")
LOG.debug("quite detailed")
LOG.info("node %s has %s", "n1", {"redfish_password": "hunter2", "name": "rack 7", "zone": "b"})
log.request_id.set("req-17")
LOG.warning("asked with X-Auth-Token: hunter2 for %(what)s", {"what": "password=hunter2"})
logging.getLogger("sushy.connector").debug("POST /Sessions, user and hunter2")
logging.getLogger("urllib3.connectionpool").debug("hunter2")
logging.getLogger("sushy").warning("the BMC is slow")
try:
    raise ValueError("cannot log in with password='hunter2'")
except ValueError as exc:
    LOG.warning("Said once: %s", exc)
    LOG.exception("broken")
"""


def run(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == ""
    assert "hunter2" not in done.stderr, done.stderr
    return done.stderr.splitlines()


def test_lines_go_to_stderr_with_the_request_and_without_secrets() -> None:
    lines = run()
    assert lines[0].endswith("[-] node n1 has {'redfish_password': ***, 'name': 'rack 7', 'zone': 'b'}")
    assert lines[1].endswith("WARNING ironic_lite.test [req-17] asked with X-Auth-Token: *** for password=***")
    assert lines[2].endswith("WARNING sushy [req-17] the BMC is slow")
    assert lines[3].endswith("[req-17] Said once: cannot log in with password=***")
    assert "broken: ValueError: cannot log in with password=***" in lines[4]
    assert lines[-2].endswith("ValueError: cannot log in with password=***")
    assert not any("quite detailed" in line for line in lines)


def test_debug_shows_our_own_details_and_never_the_wire() -> None:
    lines = run("--debug")
    assert any("quite detailed" in line for line in lines)
    assert any("log_options" in line for line in lines)
    assert not any("sushy.connector" in line or "urllib3" in line for line in lines if "default_log_levels" not in line)


def test_levels_that_ask_for_the_wire_do_not_get_it() -> None:
    os.environ["OS_DEFAULT__DEFAULT_LOG_LEVELS"] = "sushy=DEBUG,sushy.connector=DEBUG,urllib3=DEBUG"
    try:
        lines = run("--debug")
    finally:
        del os.environ["OS_DEFAULT__DEFAULT_LOG_LEVELS"]
    assert not any("Sessions" in line for line in lines)


def test_json_stays_json(tmp_path: Path) -> None:
    options = tmp_path / "json.conf"
    options.write_text("[DEFAULT]\nuse_json = true\n")
    first, second, *_, last = [json.loads(line) for line in run("--config-file", str(options))]
    assert first["message"] == "node n1 has {'redfish_password': ***, 'name': 'rack 7', 'zone': 'b'}"
    assert second["extra"] == {"request_id": "req-17"}
    assert last["traceback"].endswith("cannot log in with password=***")


def test_a_log_file_gets_the_same_lines(tmp_path: Path) -> None:
    path = tmp_path / "test.log"
    assert run("--log-file", str(path)) == []
    text = path.read_text()
    assert "[req-17]" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing to hide: password rules apply", None),
        ("{'password': 'x y', 'name': 'n', 'zone': 'b'}", "{'password': ***, 'name': 'n', 'zone': 'b'}"),
        ('{"Password": "a", "UserName": "b"}', '{"Password": ***, "UserName": "b"}'),
        (r"{\"password\": \"a\", \"n\": 1}", r"{\"password\": ***, \"n\": 1}"),
        ("ipmi_password=abc&x=1", "ipmi_password=***&x=1"),
        ("X-Auth-Token: gAAAA-b_c", "X-Auth-Token: ***"),
        ("Authorization: Basic YWRtaW46eA==", "Authorization: ***"),
        ("secret_key = 'a' and agent_secret_token=b", "secret_key = *** and agent_secret_token=***"),
        ("mysql+pymysql://ironic:pa55@db/ironic", "mysql+pymysql://ironic:***@db/ironic"),
        ("https://bmc1:8000/redfish/v1", None),
        (
            "no {'url': 'http://h/lite/v1/events/1b4e-28ba/aB3_-x'} there",
            "no {'url': 'http://h/lite/v1/events/1b4e-28ba/***'} there",
        ),
        ("POST /lite/v1/events/{uuid}", None),
        ("<password>", None),
    ],
)
def test_what_is_masked(text: str, shown: str | None) -> None:
    assert masked(text) == (text if shown is None else shown)


def test_masking_a_long_text_is_quick_enough_to_be_done_to_each() -> None:
    for text in ("a" * 200_000, "password" * 30_000, "'" * 200_000, "token-" + "x" * 200_000, "://" * 60_000):
        masked(text)
