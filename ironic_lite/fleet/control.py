"""The paths under /fleet by which a test rules a BMC: its faults, quirks and request counts, its machine's health."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from ironic_lite.fleet.faults import ScriptError, parse_script
from ironic_lite.fleet.http import Request, Response
from ironic_lite.fleet.machine import Health
from ironic_lite.fleet.quirks import Quirk
from ironic_lite.fleet.redfish import Redfish, RefusedError

PREFIX: Final = "/fleet/"
HELP: Final = (
    "GET, POST, DELETE /fleet/faults; PUT /fleet/quirks; GET, DELETE /fleet/counts; GET, PATCH /fleet/machine. "
    'The field "address" of a body means another BMC of the same fleet.'
)


@dataclass(frozen=True, slots=True)
class Control:
    """What rules the BMCs of one fleet, by address. Every request needs the credentials of the BMC it is sent to."""

    bmcs: Mapping[str, Redfish]

    def answer(self, address: str, request: Request) -> Response:
        """Carry out a request that came to the BMC of that address."""
        try:
            self.bmcs[address].authorize(request)
            return self._carry_out(self.bmcs[address], request)
        except RefusedError as exc:
            return exc.response
        except ScriptError as exc:
            return Response(HTTPStatus.BAD_REQUEST, {"error": str(exc)})

    def _carry_out(self, bmc: Redfish, request: Request) -> Response:
        asked = request.method, request.path
        if asked in _TELLS:
            return Response(HTTPStatus.OK, _TELLS[asked](bmc))
        if asked in _SETS:
            bmc, body = self._addressed(bmc, request)
            _SETS[asked](bmc, body)
        elif asked in _CLEARS:
            _CLEARS[asked](bmc)
        else:
            return Response(HTTPStatus.NOT_FOUND, {"error": HELP})
        return Response(HTTPStatus.NO_CONTENT)

    def _addressed(self, bmc: Redfish, request: Request) -> tuple[Redfish, dict[str, Any]]:
        """The BMC that the body means, and the rest of the body."""
        try:
            body = request.document()
        except ValueError as exc:
            raise ScriptError("The body is a JSON object.") from exc
        if not isinstance(body, dict):
            raise ScriptError("The body is a JSON object.")
        address = body.pop("address", None)
        if address is None:
            return bmc, body
        if address not in self.bmcs:
            raise ScriptError("The field address is the address of a BMC of this fleet.")
        return self.bmcs[address], body


def _script(bmc: Redfish) -> dict[str, Any]:
    return {"script": bmc.faults.script()}


def _set_script(bmc: Redfish, body: dict[str, Any]) -> None:
    bmc.faults.set(parse_script(body))


def _clear_script(bmc: Redfish) -> None:
    bmc.faults.set([])


def _counts(bmc: Redfish) -> dict[str, Any]:
    return {"requests": dict(bmc.counts), "total": bmc.counts.total(), "connections": bmc.connections}


def _clear_counts(bmc: Redfish) -> None:
    bmc.counts.clear()
    bmc.connections = 0


def _machine(bmc: Redfish) -> dict[str, Any]:
    """What is true of the machine, whatever its BMC tells."""
    machine = bmc.machine
    return {"power": machine.power, "health": machine.health, "boots": machine.boots, "sessions": bmc.sessions.ids()}


def _set_health(bmc: Redfish, body: dict[str, Any]) -> None:
    if set(body) != {"health"} or body["health"] not in set(Health):
        raise ScriptError(f"The body has one field, health, which is one of {', '.join(Health)}.")
    bmc.machine.health = Health(body["health"])


def _set_quirks(bmc: Redfish, body: dict[str, Any]) -> None:
    names = body.get("quirks")
    if set(body) != {"quirks"} or not isinstance(names, list) or any(name not in set(Quirk) for name in names):
        raise ScriptError(f"The body has one field, quirks, which is a list of any of {', '.join(Quirk)}.")
    bmc.quirks = frozenset(Quirk(name) for name in names)


_TELLS: Final[dict[tuple[str, str], Callable[[Redfish], dict[str, Any]]]] = {
    ("GET", "/fleet/faults"): _script,
    ("GET", "/fleet/counts"): _counts,
    ("GET", "/fleet/machine"): _machine,
}
_SETS: Final[dict[tuple[str, str], Callable[[Redfish, dict[str, Any]], None]]] = {
    ("POST", "/fleet/faults"): _set_script,
    ("PUT", "/fleet/quirks"): _set_quirks,
    ("PATCH", "/fleet/machine"): _set_health,
}
_CLEARS: Final[dict[tuple[str, str], Callable[[Redfish], None]]] = {
    ("DELETE", "/fleet/faults"): _clear_script,
    ("DELETE", "/fleet/counts"): _clear_counts,
}
