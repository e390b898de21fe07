"""The service as the demo runs it: its configuration, its ports, its start."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from ironic_lite.clock import Deadline, SystemClock, new_secret
from ironic_lite.demo.children import Child
from ironic_lite.demo.client import Client
from ironic_lite.demo.ending import Ending
from ironic_lite.demo.failure import DemoFailed, ServiceSilent

ADDRESS: Final = "127.0.0.1"
START_S: Final = 60.0
STOP_S: Final = 30.0

_CONFIGURATION: Final = """\
[DEFAULT]
host = demo
state_path = {directory}
enabled_hardware_types = redfish,fake-hardware
auth_strategy = noauth

[api]
host_ip = {address}
port = {api_port}

[conductor]
metrics_port = 0
sync_power_state_interval = 5

[json_rpc]
host_ip = {address}
port = {rpc_port}
username = demo
password = {secret}

[sensor_data]
send_sensor_data = true
enable_for_undeployed_nodes = true
interval = 5
"""


def choose_port(wanted: int) -> int:
    """The port itself if it is free, or a free one for 0. Raises `DemoFailed` when it is taken."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((ADDRESS, wanted))
        except OSError as exc:
            raise DemoFailed(
                reason=f"The API cannot listen on {ADDRESS} port {wanted} ({exc.strerror}). "
                "Choose another port with --api-port, or 0 for any that is free."
            ) from exc
        port: int = sock.getsockname()[1]
        return port


def start(directory: Path, api_port: int) -> Child:
    """Write the configuration into the directory, and start the service with it."""
    file = directory / "ironic.conf"
    file.touch(mode=0o600)
    file.write_text(
        _CONFIGURATION.format(
            directory=directory, address=ADDRESS, api_port=api_port, rpc_port=choose_port(0), secret=new_secret()
        ),
        encoding="utf-8",
    )
    return Child("service", ["ironic_lite", "--config-file", str(file)], directory, {})


def wait_until_ready(child: Child, client: Client, ending: Ending) -> None:
    """Return when the API answers and a conductor serves Redfish nodes. Raises `DemoFailed` after `START_S`."""
    deadline = Deadline(SystemClock(), START_S)
    while not _ready(client):
        child.check()
        if deadline.passed():
            raise DemoFailed(reason=f"The service is not ready after {START_S:.0f} s. Its last words:\n{child.tail()}")
        ending.pause(0.2)


def _ready(client: Client) -> bool:
    try:
        client.nodes()
        return "redfish" in client.drivers()
    except ServiceSilent:
        return False
