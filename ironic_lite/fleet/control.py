"""The paths under /fleet by which a test rules one BMC, or all: faults, quirks, counts, ledgers, machines, orders."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from ironic_lite.fleet import orders, report
from ironic_lite.fleet.device import Device
from ironic_lite.fleet.faults import ScriptError, parse_script
from ironic_lite.fleet.http import Request, Response
from ironic_lite.fleet.machine import Reset, StandbyError
from ironic_lite.fleet.orders import Order
from ironic_lite.fleet.refusals import RefusedError, no_access

if TYPE_CHECKING:
    from ironic_lite.fleet.connection import Connection
    from ironic_lite.fleet.server import Fleet

PREFIX: Final = "/fleet/"
HELP: Final = (
    "Of one BMC: GET, POST, DELETE /fleet/faults; PUT /fleet/quirks; PUT /fleet/latency; GET, DELETE /fleet/counts; "
    "GET /fleet/ledger; GET, PATCH /fleet/machine; POST /fleet/reset. "
    'The field "address" of a body, or ?address=, means another BMC than the one that is asked. '
    "Of the fleet: POST /fleet/orders; GET /fleet/report; GET /fleet/actions; GET /fleet/power."
)


class Control:
    """What rules the BMCs of one fleet. Every request needs the credentials of the BMC that it is sent to."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def answer(self, address: str | None, request: Request, spare: Connection | None = None) -> Response:
        """Carry out a request that came to the BMC of that address, or to none of them.

        `spare` is the connection that it came over, which outlives a fault that ends connections.
        """
        try:
            self._authorize(address, request)
            return self._carry_out(address, request, spare)
        except RefusedError as exc:
            return exc.response
        except ScriptError as exc:
            return Response(HTTPStatus.BAD_REQUEST, {"error": str(exc)})

    def _authorize(self, address: str | None, request: Request) -> None:
        if address is not None:
            self._fleet.redfish[address].authorize(request)
        elif not self._fleet.site.account.match_basic(request.headers.get("authorization", "")):
            raise no_access()

    def _carry_out(self, address: str | None, request: Request, spare: Connection | None) -> Response:
        asked = request.method, request.path
        if asked in _TELLS_ALL:
            return Response(HTTPStatus.OK, _TELLS_ALL[asked](self._fleet))
        if asked == ("POST", "/fleet/orders"):
            return Response(HTTPStatus.OK, {"bmcs": self._order(_body(request), spare)})
        if asked not in _TELLS and asked not in _SETS:
            return Response(HTTPStatus.NOT_FOUND, {"error": HELP})
        body = _body(request) if asked in _SETS and request.method != "DELETE" else {}
        device = self._addressed(address, request, body)
        if asked in _TELLS:
            return Response(HTTPStatus.OK, _TELLS[asked](device))
        _SETS[asked](device, body)
        self._fleet.follow(device, spare)
        return Response(HTTPStatus.NO_CONTENT)

    def _addressed(self, own: str | None, request: Request, body: dict[str, Any]) -> Device:
        """The BMC that is meant; `address` is taken out of the body."""
        asked = parse_qs(request.query).get("address", [own])[0]
        address = body.pop("address", asked)
        if not isinstance(address, str) or address not in self._fleet.devices:
            raise ScriptError("The field address is the address of a BMC of this fleet.")
        return self._fleet.devices[address]

    def _order(self, body: dict[str, Any], spare: Connection | None) -> int:
        """Carry an order out at once: how many BMCs it meant."""
        if "at" in body:
            raise ScriptError("An order that is sent is carried out at once: at must be absent.")
        return self.carry_out(Order.parse(body), spare)

    def carry_out(self, order: Order, spare: Connection | None = None) -> int:
        """Carry an order out: how many BMCs it meant. Raises `ScriptError` for an unknown address."""
        meant = order.choice.among(self._fleet.devices, self._fleet.settings.seed)
        order.carry_out(meant)
        if order.faults is not None:
            for device in meant:
                self._fleet.follow(device, spare)
        return len(meant)


def _body(request: Request) -> dict[str, Any]:
    try:
        body = request.document()
    except ValueError as exc:
        raise ScriptError("The body is a JSON object.") from exc
    if not isinstance(body, dict):
        raise ScriptError("The body is a JSON object.")
    return body


def _only(body: dict[str, Any], name: str) -> Any:
    if set(body) != {name}:
        raise ScriptError(f"The body has one field, {name}, and may have the field address.")
    return body[name]


def _set_script(bmc: Device, body: dict[str, Any]) -> None:
    bmc.faults.set(parse_script(body))


def _set_health(bmc: Device, body: dict[str, Any]) -> None:
    bmc.machine.health = orders.parse_health(_only(body, "health"))


def _set_quirks(bmc: Device, body: dict[str, Any]) -> None:
    bmc.quirks = orders.parse_quirks(_only(body, "quirks"))


def _set_latency(bmc: Device, body: dict[str, Any]) -> None:
    bmc.set_latency(orders.parse_latency(_only(body, "latency")))


def _reset(bmc: Device, body: dict[str, Any]) -> None:
    kind: Reset = orders.parse_reset(_only(body, "reset"))
    try:
        bmc.machine.reset(kind)
    except StandbyError as exc:
        raise ScriptError(f"A machine without power takes no {kind}.") from exc


_TELLS: Final[dict[tuple[str, str], Callable[[Device], dict[str, Any]]]] = {
    ("GET", "/fleet/faults"): lambda bmc: {"script": bmc.faults.script()},
    ("GET", "/fleet/counts"): report.counts,
    ("GET", "/fleet/machine"): report.machine,
    ("GET", "/fleet/ledger"): report.ledger,
}
_SETS: Final[dict[tuple[str, str], Callable[[Device, dict[str, Any]], None]]] = {
    ("POST", "/fleet/faults"): _set_script,
    ("DELETE", "/fleet/faults"): lambda bmc, _body: bmc.faults.set([]),
    ("PUT", "/fleet/quirks"): _set_quirks,
    ("PUT", "/fleet/latency"): _set_latency,
    ("PATCH", "/fleet/machine"): _set_health,
    ("POST", "/fleet/reset"): _reset,
    ("DELETE", "/fleet/counts"): lambda bmc, _body: bmc.tally.clear(),
}
_TELLS_ALL: Final[dict[tuple[str, str], Callable[[Fleet], dict[str, Any]]]] = {
    ("GET", "/fleet/report"): report.fleet,
    ("GET", "/fleet/actions"): report.actions,
    ("GET", "/fleet/power"): report.power,
}
