"""What the demo asks of the service's REST API."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final

from ironic_lite.demo.failure import DemoFailed, ServiceSilent

API_VERSION: Final = "1.72"
TIMEOUT_S: Final = 10.0
ANSWER_KIB: Final = 4096

Node = dict[str, Any]


class Client:
    """One service, without login. Every method raises `ServiceSilent` when there is no usable answer."""

    def __init__(self, address: str, port: int) -> None:
        self.url = f"http://{address}:{port}"
        self._address, self._port = address, port

    def nodes(self) -> list[Node]:
        """Every node in full, by name."""
        nodes = self._get("/v1/nodes/detail")["nodes"]
        return sorted(nodes, key=lambda node: _natural(node["name"] or node["uuid"]))

    def drivers(self) -> list[str]:
        """The hardware types that conductors serve."""
        return [driver["name"] for driver in self._get("/v1/drivers")["drivers"]]

    def create(self, name: str, driver_info: dict[str, str]) -> None:
        """Enrol a Redfish node."""
        self._send("POST", "/v1/nodes", {"name": name, "driver": "redfish", "driver_info": driver_info})

    def manage(self, name: str) -> None:
        """Have the node's BMC verified."""
        self._send("PUT", f"/v1/nodes/{name}/states/provision", {"target": "manage"})

    def temperature_c(self, uuid: str) -> float | None:
        """The highest temperature that the node's sensors told; None before they told any."""
        status, report = self._ask("GET", f"/lite/v1/nodes/{uuid}/sensors")
        if status != http.client.OK or not isinstance(report, dict):
            return None
        sensors = (report.get("sensors") or {}).get("Temperature") or {}
        readings = [sensor.get("reading_celsius") for sensor in sensors.values()]
        return max((value for value in readings if isinstance(value, int | float)), default=None)

    def _get(self, path: str) -> Any:
        status, document = self._ask("GET", path)
        if status != http.client.OK or not isinstance(document, dict):
            raise ServiceSilent(reason=f"GET {path} was answered with status {status}: {_fault(document)}")
        return document

    def _send(self, method: str, path: str, body: object) -> None:
        status, document = self._ask(method, path, body)
        if status >= http.client.BAD_REQUEST:
            raise DemoFailed(reason=f"{method} {path} was answered with status {status}: {_fault(document)}")

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self._address, self._port, timeout=TIMEOUT_S)
        headers = {"X-OpenStack-Ironic-API-Version": API_VERSION, "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read(ANSWER_KIB * 1024)
            return response.status, json.loads(content) if content else None
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise ServiceSilent(reason=f"{method} {path} got no usable answer: {exc or type(exc).__name__}") from exc
        finally:
            connection.close()


def _fault(document: Any) -> str:
    """The sentence in an error of Ironic's shape, which may be JSON within JSON."""
    fault = document.get("error_message", document) if isinstance(document, dict) else document
    if isinstance(fault, str) and fault.startswith("{"):
        try:
            fault = json.loads(fault)
        except ValueError:
            return str(fault)
    return str(fault.get("faultstring", fault)) if isinstance(fault, dict) else str(fault)


def _natural(name: str) -> tuple[str, int]:
    """demo-2 before demo-10."""
    stem, _, number = name.rpartition("-")
    return (stem, int(number)) if number.isascii() and number.isdigit() else (name, 0)
