"""One simulated BMC: who may ask, what each path and method does, and how often it was asked (DMTF DSP0266)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from ironic_lite.fleet import documents, events, parts, refusals, switches
from ironic_lite.fleet.device import Device, Identity, Site
from ironic_lite.fleet.http import Request, Response
from ironic_lite.fleet.machine import BootEnabled, BootMode, BootSource, Machine, Power, Reset, StandbyError
from ironic_lite.fleet.outbox import RETRIES
from ironic_lite.fleet.quirks import Quirk
from ironic_lite.fleet.sessions import IDLE_TIMEOUT_S, Sessions, SlotsTakenError

Handler = Callable[["Redfish", Request], Response]

SLOW_ROOT_S: Final = 3.0
BUSY_S: Final = 5.0
_SETTLES: Final = {
    Reset.ON: Power.ON,
    Reset.FORCE_ON: Power.ON,
    Reset.FORCE_OFF: Power.OFF,
    Reset.GRACEFUL_SHUTDOWN: Power.OFF,
}
_COUNTED_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


class Redfish(Device):
    """The service of one BMC over its machine."""

    PROTOCOL = "redfish"

    def __init__(self, site: Site, address: str, identity: Identity, machine: Machine, slots: int) -> None:
        self.sessions = Sessions(site.clock, slots)
        super().__init__(site, address, identity, machine, self.sessions)
        self.subscriptions = events.Subscriptions(self, site.outbox)
        self._busy_until_s = 0.0
        self._system: tuple[tuple[Any, ...], Response] | None = None

    def answer(self, request: Request) -> Response:
        """Carry the request out and answer it."""
        try:
            if request.path not in _OPEN.get(request.method, ()):
                self.authorize(request)
            if self.quirks:
                self._mind_quirks(request)
            _, methods = _route(request.path)
            handler = methods.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                raise refusals.method_not_allowed(request, methods)
            return handler(self, request)
        except refusals.RefusedError as exc:
            return exc.response

    def kind_of(self, request: Request) -> str:
        """What the request is counted as: its method and kind of path."""
        method = request.method if request.method in _COUNTED_METHODS else "other"
        try:
            kind, _ = _route(request.path)
        except refusals.RefusedError:
            kind = "unknown"
        return f"{method} {kind}"

    def authorize(self, request: Request) -> None:
        """Raise `RefusedError` unless the request carries a live token or the account's credentials."""
        token, basic = request.headers.get("x-auth-token"), request.headers.get("authorization")
        if token is not None and self.sessions.touch(token):
            return
        takes_basic = token is None and Quirk.NO_BASIC not in self.quirks
        if takes_basic and basic is not None and self.site.account.match_basic(basic):
            return
        raise refusals.no_access()

    def slowness_s(self, request: Request) -> float:
        """Seconds that this BMC takes longer for such a request than for others."""
        if request.path in documents.READINGS or request.path.startswith(f"{documents.SENSORS}/"):
            return self.sensor_delay_s()
        return SLOW_ROOT_S if Quirk.SLOW_ROOT in self.quirks and request.path == documents.ROOT else 0.0

    def _mind_quirks(self, request: Request) -> None:
        """Raise `RefusedError` where a quirk answers instead."""
        if Quirk.REDIRECTS in self.quirks and request.path == documents.ROOT and not request.slash:
            raise refusals.moved(f"{documents.ROOT}/")
        if Quirk.NO_SESSIONS in self.quirks and request.path == documents.SESSIONS and request.method == "POST":
            raise refusals.not_found(request.path)
        busy = Quirk.BUSY_AFTER_RESET in self.quirks and self.site.clock.monotonic() < self._busy_until_s
        if busy and request.method not in {"GET", "HEAD"}:
            raise refusals.busy()

    def system(self, request: Request) -> Response:
        """GET of the system, with an ETag that changes with the document."""
        response = self._system_now()
        if request.headers.get("if-none-match") == response.headers["ETag"]:
            return Response(HTTPStatus.NOT_MODIFIED, headers={"ETag": response.headers["ETag"]})
        return response

    def _system_now(self) -> Response:
        """The answer with the system's document, which is made anew only when the machine has changed."""
        machine, shown = self.machine, self.shown_power
        boot = machine.boot_enabled, machine.boot_mode, machine.boot_source, machine.http_boot_uri
        state = shown, machine.health, boot, machine.lights.get(documents.SYSTEM), Quirk.STALE_ETAG in self.quirks
        if self._system is None or self._system[0] != state:
            raw = json.dumps(documents.system(self.identity, machine, shown)).encode()
            tagged = self.identity.serial.encode() if Quirk.STALE_ETAG in self.quirks else raw
            headers = {"ETag": f'"{zlib.crc32(tagged):08x}"', "Allow": "GET, HEAD, PATCH"}
            self._system = state, Response(HTTPStatus.OK, headers=headers, raw=raw)
        return self._system[1]

    def patch_system(self, request: Request) -> Response:
        """PATCH of the boot override and of the indicator."""
        if request.headers.get("if-match", "*") not in {"*", self._system_now().headers["ETag"]}:
            raise refusals.RefusedError(
                HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed", "The ETag does not match."
            )
        body = refusals.body(request, allowed={"Boot", "IndicatorLED"})
        boot = body.get("Boot", {})
        if not isinstance(boot, Mapping):
            raise refusals.wrong_value("Boot", boot)
        if boot:
            self._set_boot(boot)
        switches.set_lights(self.machine, request.path, body)
        return Response(HTTPStatus.NO_CONTENT)

    def _set_boot(self, boot: Mapping[str, Any]) -> None:
        machine = self.machine
        self._mind_boot_quirks(boot)
        refusals.only(
            boot, {"BootSourceOverrideEnabled", "BootSourceOverrideMode", "BootSourceOverrideTarget", "HttpBootUri"}
        )
        enabled = refusals.choice(boot, "BootSourceOverrideEnabled", BootEnabled, machine.boot_enabled)
        source = refusals.choice(boot, "BootSourceOverrideTarget", BootSource, machine.boot_source)
        follows = Quirk.MODE_FOLLOWS in self.quirks and "BootSourceOverrideTarget" in boot
        mode = refusals.choice(
            boot, "BootSourceOverrideMode", BootMode, BootMode.LEGACY if follows else machine.boot_mode
        )
        uri = boot.get("HttpBootUri", machine.http_boot_uri)
        if uri is not None and not isinstance(uri, str):
            raise refusals.wrong_value("HttpBootUri", uri)
        off = enabled is BootEnabled.DISABLED
        machine.boot_enabled, machine.http_boot_uri = enabled, uri
        switches.put(machine, "boot_mode", mode, at_boot=Quirk.MODE_AT_BOOT in self.quirks)
        machine.boot_source = BootSource.NONE if off else source

    def _mind_boot_quirks(self, boot: Mapping[str, Any]) -> None:
        if Quirk.POST_LOCK in self.quirks and self.machine.power is Power.POWERING_ON:
            text = "Unable to modify during system POST."
            raise refusals.RefusedError(HTTPStatus.BAD_REQUEST, "UnableToModifyDuringSystemPOST", text)
        if Quirk.NEEDS_ENABLED in self.quirks and "BootSourceOverrideEnabled" not in boot:
            text = "The property BootSourceOverrideEnabled is required here."
            raise refusals.RefusedError(HTTPStatus.BAD_REQUEST, "PropertyMissing", text, "BootSourceOverrideEnabled")

    def reset(self, request: Request) -> Response:
        """POST of ComputerSystem.Reset."""
        body = refusals.body(request, allowed={"ResetType"})
        kind = refusals.choice(body, "ResetType", Reset, Reset.ON)
        if Quirk.ALREADY_THERE in self.quirks and self.machine.power is _SETTLES.get(kind):
            raise refusals.RefusedError(
                HTTPStatus.CONFLICT, "NoOperation", "The machine is in that power state already."
            )
        try:
            self.change_power(kind)
        except StandbyError:
            text = "The request could not be performed because the resource is in standby."
            raise refusals.RefusedError(HTTPStatus.CONFLICT, "ResourceInStandby", text) from None
        self._busy_until_s = self.site.clock.monotonic() + BUSY_S
        return Response(HTTPStatus.NO_CONTENT)

    def log_in(self, request: Request) -> Response:
        """POST of a session: the token is in a header, and only there."""
        body = refusals.body(request, allowed={"UserName", "Password"})
        if not self.site.account.match(body.get("UserName"), body.get("Password")):
            raise refusals.no_access()
        try:
            session = self.sessions.create(self.site.account.username)
        except SlotsTakenError:
            text = "The session establishment failed because the number of simultaneous sessions is at its limit."
            raise refusals.RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "SessionLimitExceeded", text) from None
        document = documents.session(session.id, session.username)
        return Response(
            HTTPStatus.CREATED, document, {"X-Auth-Token": session.token, "Location": document["@odata.id"]}
        )

    def session(self, request: Request) -> Response:
        """GET of one session."""
        session = self.sessions.get(_last(request))
        if session is None:
            raise refusals.not_found(request.path)
        return Response(HTTPStatus.OK, documents.session(session.id, session.username))

    def log_out(self, request: Request) -> Response:
        """DELETE of one session."""
        if not self.sessions.delete(_last(request)):
            raise refusals.not_found(request.path)
        return Response(HTTPStatus.NO_CONTENT)

    def session_list(self, _request: Request) -> Response:
        """GET of the open sessions."""
        paths = [f"{documents.SESSIONS}/{ident}" for ident in self.sessions.ids()]
        return Response(HTTPStatus.OK, documents.collection(documents.SESSIONS, "Session", *paths))

    def sensor_list(self, request: Request) -> Response:
        """GET of the sensors: links to them, or with `$expand` all of them whole."""
        expanded = "$expand" in parse_qs(request.query, keep_blank_values=True)
        if expanded and Quirk.NO_EXPAND in self.quirks:
            raise refusals.wrong_query("$expand")
        whole = documents.sensors(self.readings())
        document = documents.collection(documents.SENSORS, "Sensor", *(one["@odata.id"] for one in whole))
        return Response(HTTPStatus.OK, document | {"Members": whole} if expanded else document)

    def sensor(self, request: Request) -> Response:
        """GET of one sensor."""
        return _member(request, documents.sensors(self.readings()))

    def part_list(self, request: Request) -> Response:
        """GET of one of the collections of what the machine is made of."""
        listed = parts.LISTS[request.path]
        paths = [one["@odata.id"] for one in listed.members(self.identity, self.machine)]
        return Response(HTTPStatus.OK, documents.collection(request.path, listed.kind, *paths))

    def part(self, request: Request) -> Response:
        """GET of one of its members."""
        return _member(request, parts.LISTS[request.path.rpartition("/")[0]].members(self.identity, self.machine))

    def drive(self, request: Request) -> Response:
        """GET of one drive."""
        return _member(request, parts.drives(self.identity, self.machine))

    def set_lights(self, request: Request) -> Response:
        """PATCH of the indicator of a chassis or a drive."""
        body = refusals.body(request, allowed={"IndicatorLED", "LocationIndicatorActive"})
        switches.set_lights(self.machine, request.path, body)
        return Response(HTTPStatus.NO_CONTENT)

    def set_secure_boot(self, request: Request) -> Response:
        """PATCH of secure boot."""
        body = refusals.body(request, allowed={"SecureBootEnable"})
        switches.set_secure_boot(self.machine, body, at_boot=Quirk.MODE_AT_BOOT in self.quirks)
        return Response(HTTPStatus.NO_CONTENT)

    def subscription_list(self, _request: Request) -> Response:
        """GET of the subscriptions."""
        paths = [f"{documents.SUBSCRIPTIONS}/{ident}" for ident in self.subscriptions.by_id]
        return Response(HTTPStatus.OK, documents.collection(documents.SUBSCRIPTIONS, "EventDestination", *paths))

    def subscribe(self, request: Request) -> Response:
        """POST of a subscription."""
        subscription = self.subscriptions.add(refusals.body(request, allowed=events.PROPERTIES))
        document = subscription.document()
        return Response(HTTPStatus.CREATED, document, {"Location": document["@odata.id"]})

    def subscription(self, request: Request) -> Response:
        """GET of one subscription."""
        subscription = self.subscriptions.by_id.get(_last(request))
        if subscription is None:
            raise refusals.not_found(request.path)
        return Response(HTTPStatus.OK, subscription.document())

    def unsubscribe(self, request: Request) -> Response:
        """DELETE of one subscription."""
        if not self.subscriptions.remove(_last(request)):
            raise refusals.not_found(request.path)
        return Response(HTTPStatus.NO_CONTENT)

    def test_event(self, request: Request) -> Response:
        """POST of EventService.SubmitTestEvent: the event that the client describes is delivered."""
        self.subscriptions.emit(refusals.body(request, allowed=events.TEST_PROPERTIES))
        return Response(HTTPStatus.NO_CONTENT)


def _read(make: Callable[[Redfish], documents.Document]) -> dict[str, Handler]:
    """The methods of a path that is only read."""
    return {"GET": lambda bmc, _request: Response(HTTPStatus.OK, make(bmc))}


def _made(
    make: Callable[[Identity, Machine], documents.Document],
) -> Callable[[Redfish], documents.Document]:
    return lambda bmc: make(bmc.identity, bmc.machine)


# Every path: the kind that it is counted as, and what it does by method. HEAD goes with GET.
ROUTES: Final[dict[str, tuple[str, dict[str, Handler]]]] = {
    "/redfish": ("versions", _read(lambda _: {"v1": f"{documents.ROOT}/"})),
    documents.ROOT: ("root", _read(lambda bmc: documents.root(bmc.identity))),
    documents.SYSTEMS: (
        "systems",
        _read(lambda _: documents.collection(documents.SYSTEMS, "ComputerSystem", documents.SYSTEM)),
    ),
    documents.SYSTEM: ("system", {"GET": Redfish.system, "PATCH": Redfish.patch_system}),
    documents.RESET: ("reset", {"POST": Redfish.reset}),
    documents.SECURE_BOOT: (
        "secure-boot",
        _read(lambda bmc: documents.secure_boot(bmc.machine)) | {"PATCH": Redfish.set_secure_boot},
    ),
    documents.CHASSIS: (
        "chassis-list",
        _read(lambda _: documents.collection(documents.CHASSIS, "Chassis", documents.ENCLOSURE)),
    ),
    documents.ENCLOSURE: (
        "chassis",
        _read(lambda bmc: documents.enclosure(bmc.identity, bmc.machine, bmc.shown_power))
        | {"PATCH": Redfish.set_lights},
    ),
    documents.THERMAL: ("thermal", _read(lambda bmc: documents.thermal(bmc.readings()))),
    documents.POWER: ("power", _read(lambda bmc: documents.power(bmc.identity, bmc.readings()))),
    documents.SENSORS: ("sensors", {"GET": Redfish.sensor_list}),
    documents.MANAGERS: (
        "managers",
        _read(lambda _: documents.collection(documents.MANAGERS, "Manager", documents.MANAGER)),
    ),
    documents.MANAGER: ("manager", _read(lambda bmc: documents.manager(bmc.identity))),
    documents.SESSION_SERVICE: ("session-service", _read(lambda _: documents.session_service(IDLE_TIMEOUT_S))),
    documents.SESSIONS: ("sessions", {"GET": Redfish.session_list, "POST": Redfish.log_in}),
    documents.EVENT_SERVICE: (
        "event-service",
        _read(lambda bmc: documents.event_service(RETRIES, bmc.site.outbox.retry_s)),
    ),
    documents.SUBSCRIPTIONS: ("subscriptions", {"GET": Redfish.subscription_list, "POST": Redfish.subscribe}),
    documents.TEST_EVENT: ("test-event", {"POST": Redfish.test_event}),
    **{path: (f"{one.counted}-list", {"GET": Redfish.part_list}) for path, one in parts.LISTS.items()},
    **{path: (counted, _read(_made(make))) for path, (counted, make) in parts.SINGLE.items()},
}
# The members of collections whose members come and go, by the path of the collection.
_MEMBERS: Final[dict[str, tuple[str, dict[str, Handler]]]] = {
    documents.SESSIONS: ("session", {"GET": Redfish.session, "DELETE": Redfish.log_out}),
    documents.SUBSCRIPTIONS: ("subscription", {"GET": Redfish.subscription, "DELETE": Redfish.unsubscribe}),
    documents.SENSORS: ("sensor", {"GET": Redfish.sensor}),
    documents.DRIVES: ("drive", {"GET": Redfish.drive, "PATCH": Redfish.set_lights}),
    **{path: (one.counted, {"GET": Redfish.part}) for path, one in parts.LISTS.items()},
}

# What needs no login, by method (DSP0266, "authentication requirements for resources").
_OPEN: Final = {
    "GET": {"/redfish", documents.ROOT},
    "HEAD": {"/redfish", documents.ROOT},
    "POST": {documents.SESSIONS},
}


def _route(path: str) -> tuple[str, dict[str, Handler]]:
    route = ROUTES.get(path) or _MEMBERS.get(path.rpartition("/")[0])
    if route is None:
        raise refusals.not_found(path)
    return route


def _member(request: Request, members: Iterable[documents.Document]) -> Response:
    for one in members:
        if one["@odata.id"] == request.path:
            return Response(HTTPStatus.OK, one)
    raise refusals.not_found(request.path)


def _last(request: Request) -> str:
    return request.path.rpartition("/")[2]
