"""One simulated BMC: who may ask, what each path and method does, and how often it was asked (DMTF DSP0266)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, TypeVar

from ironic_lite.fleet import documents
from ironic_lite.fleet.device import Device, Identity, Site
from ironic_lite.fleet.http import Request, Response
from ironic_lite.fleet.machine import BootEnabled, BootMode, BootSource, Machine, Power, Reset, StandbyError
from ironic_lite.fleet.quirks import Quirk
from ironic_lite.fleet.sessions import IDLE_TIMEOUT_S, Sessions, SlotsTakenError

Choice = TypeVar("Choice", bound=StrEnum)
Handler = Callable[["Redfish", Request], Response]

_SETTLES: Final = {
    Reset.ON: Power.ON,
    Reset.FORCE_ON: Power.ON,
    Reset.FORCE_OFF: Power.OFF,
    Reset.GRACEFUL_SHUTDOWN: Power.OFF,
}
_COUNTED_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


class RefusedError(Exception):
    """A request that Redfish answers with an extended error."""

    def __init__(self, status: HTTPStatus, code: str, text: str, *arguments: str, **headers: str) -> None:
        super().__init__(text)
        document = documents.error(code, text, *arguments)
        self.response = Response(status, document, {name.replace("_", "-"): value for name, value in headers.items()})


class Redfish(Device):
    """The service of one BMC over its machine."""

    PROTOCOL = "redfish"

    def __init__(self, site: Site, address: str, identity: Identity, machine: Machine, slots: int) -> None:
        self.sessions = Sessions(site.clock, slots)
        super().__init__(site, address, identity, machine, self.sessions)
        self._system: tuple[tuple[Any, ...], Response] | None = None

    def answer(self, request: Request) -> Response:
        """Carry the request out and answer it."""
        try:
            if request.path not in _OPEN.get(request.method, ()):
                self.authorize(request)
            _, methods = _route(request.path)
            handler = methods.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                raise _method_not_allowed(request, methods)
            return handler(self, request)
        except RefusedError as exc:
            return exc.response

    def kind_of(self, request: Request) -> str:
        """What the request is counted as: its method and kind of path."""
        method = request.method if request.method in _COUNTED_METHODS else "other"
        try:
            kind, _ = _route(request.path)
        except RefusedError:
            kind = "unknown"
        return f"{method} {kind}"

    def authorize(self, request: Request) -> None:
        """Raise `RefusedError` unless the request carries a live token or the account's credentials."""
        token, basic = request.headers.get("x-auth-token"), request.headers.get("authorization")
        if token is not None and self.sessions.touch(token):
            return
        if token is None and basic is not None and self.site.account.match_basic(basic):
            return
        raise no_access()

    def slowness_s(self, _request: Request) -> float:
        """Seconds that this BMC takes longer for such a request than for others."""
        return 0.0

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
        state = shown, machine.health, boot
        if self._system is None or self._system[0] != state:
            raw = json.dumps(documents.system(self.identity, machine, shown)).encode()
            headers = {"ETag": f'"{zlib.crc32(raw):08x}"', "Allow": "GET, HEAD, PATCH"}
            self._system = state, Response(HTTPStatus.OK, headers=headers, raw=raw)
        return self._system[1]

    def patch_system(self, request: Request) -> Response:
        """PATCH of the boot override."""
        if request.headers.get("if-match", "*") not in {"*", self._system_now().headers["ETag"]}:
            raise RefusedError(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed", "The ETag does not match.")
        body = _body(request, allowed={"Boot"})
        boot = body.get("Boot", {})
        if not isinstance(boot, Mapping):
            raise _wrong_value("Boot", boot)
        self._set_boot(boot)
        return Response(HTTPStatus.NO_CONTENT)

    def _set_boot(self, boot: Mapping[str, Any]) -> None:
        machine = self.machine
        self._mind_boot_quirks(boot)
        _only(boot, {"BootSourceOverrideEnabled", "BootSourceOverrideMode", "BootSourceOverrideTarget", "HttpBootUri"})
        enabled = _choice(boot, "BootSourceOverrideEnabled", BootEnabled, machine.boot_enabled)
        source = _choice(boot, "BootSourceOverrideTarget", BootSource, machine.boot_source)
        follows = Quirk.MODE_FOLLOWS in self.quirks and "BootSourceOverrideTarget" in boot
        mode = _choice(boot, "BootSourceOverrideMode", BootMode, BootMode.LEGACY if follows else machine.boot_mode)
        uri = boot.get("HttpBootUri", machine.http_boot_uri)
        if uri is not None and not isinstance(uri, str):
            raise _wrong_value("HttpBootUri", uri)
        off = enabled is BootEnabled.DISABLED
        machine.boot_enabled, machine.boot_mode, machine.http_boot_uri = enabled, mode, uri
        machine.boot_source = BootSource.NONE if off else source

    def _mind_boot_quirks(self, boot: Mapping[str, Any]) -> None:
        if Quirk.POST_LOCK in self.quirks and self.machine.power is Power.POWERING_ON:
            text = "Unable to modify during system POST."
            raise RefusedError(HTTPStatus.BAD_REQUEST, "UnableToModifyDuringSystemPOST", text)
        if Quirk.NEEDS_ENABLED in self.quirks and "BootSourceOverrideEnabled" not in boot:
            text = "The property BootSourceOverrideEnabled is required here."
            raise RefusedError(HTTPStatus.BAD_REQUEST, "PropertyMissing", text, "BootSourceOverrideEnabled")

    def reset(self, request: Request) -> Response:
        """POST of ComputerSystem.Reset."""
        body = _body(request, allowed={"ResetType"})
        kind = _choice(body, "ResetType", Reset, Reset.ON)
        if Quirk.ALREADY_THERE in self.quirks and self.machine.power is _SETTLES.get(kind):
            raise RefusedError(HTTPStatus.CONFLICT, "NoOperation", "The machine is in that power state already.")
        try:
            self.change_power(kind)
        except StandbyError:
            text = "The request could not be performed because the resource is in standby."
            raise RefusedError(HTTPStatus.CONFLICT, "ResourceInStandby", text) from None
        return Response(HTTPStatus.NO_CONTENT)

    def log_in(self, request: Request) -> Response:
        """POST of a session: the token is in a header, and only there."""
        body = _body(request, allowed={"UserName", "Password"})
        if not self.site.account.match(body.get("UserName"), body.get("Password")):
            raise no_access()
        try:
            session = self.sessions.create(self.site.account.username)
        except SlotsTakenError:
            text = "The session establishment failed because the number of simultaneous sessions is at its limit."
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "SessionLimitExceeded", text) from None
        document = documents.session(session.id, session.username)
        return Response(
            HTTPStatus.CREATED, document, {"X-Auth-Token": session.token, "Location": document["@odata.id"]}
        )

    def session(self, request: Request) -> Response:
        """GET of one session."""
        session = self.sessions.get(_last(request))
        if session is None:
            raise _not_found(request.path)
        return Response(HTTPStatus.OK, documents.session(session.id, session.username))

    def log_out(self, request: Request) -> Response:
        """DELETE of one session."""
        if not self.sessions.delete(_last(request)):
            raise _not_found(request.path)
        return Response(HTTPStatus.NO_CONTENT)

    def session_list(self, _request: Request) -> Response:
        """GET of the open sessions."""
        paths = [f"{documents.SESSIONS}/{ident}" for ident in self.sessions.ids()]
        return Response(HTTPStatus.OK, documents.collection(documents.SESSIONS, "Session", *paths))


def _read(make: Callable[[Redfish], documents.Document]) -> dict[str, Handler]:
    """The methods of a path that is only read."""
    return {"GET": lambda bmc, _request: Response(HTTPStatus.OK, make(bmc))}


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
    documents.SECURE_BOOT: ("secure-boot", _read(lambda bmc: documents.secure_boot(bmc.machine))),
    documents.CHASSIS: (
        "chassis-list",
        _read(lambda _: documents.collection(documents.CHASSIS, "Chassis", documents.ENCLOSURE)),
    ),
    documents.ENCLOSURE: (
        "chassis",
        _read(lambda bmc: documents.enclosure(bmc.identity, bmc.machine, bmc.shown_power)),
    ),
    documents.THERMAL: ("thermal", _read(lambda bmc: documents.thermal(bmc.readings()))),
    documents.POWER: ("power", _read(lambda bmc: documents.power(bmc.identity, bmc.readings()))),
    documents.MANAGERS: (
        "managers",
        _read(lambda _: documents.collection(documents.MANAGERS, "Manager", documents.MANAGER)),
    ),
    documents.MANAGER: ("manager", _read(lambda bmc: documents.manager(bmc.identity))),
    documents.SESSION_SERVICE: ("session-service", _read(lambda _: documents.session_service(IDLE_TIMEOUT_S))),
    documents.SESSIONS: ("sessions", {"GET": Redfish.session_list, "POST": Redfish.log_in}),
}
_SESSION: Final[tuple[str, dict[str, Handler]]] = ("session", {"GET": Redfish.session, "DELETE": Redfish.log_out})

# What needs no login, by method (DSP0266, "authentication requirements for resources").
_OPEN: Final = {
    "GET": {"/redfish", documents.ROOT},
    "HEAD": {"/redfish", documents.ROOT},
    "POST": {documents.SESSIONS},
}


def _route(path: str) -> tuple[str, dict[str, Handler]]:
    if path.rpartition("/")[0] == documents.SESSIONS:
        return _SESSION
    if path not in ROUTES:
        raise _not_found(path)
    return ROUTES[path]


def _last(request: Request) -> str:
    return request.path.rpartition("/")[2]


def _body(request: Request, *, allowed: set[str]) -> dict[str, Any]:
    try:
        body = request.document()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        text = "The request body submitted was malformed JSON and could not be parsed by the receiving service."
        raise RefusedError(HTTPStatus.BAD_REQUEST, "MalformedJSON", text)
    _only(body, allowed)
    return body


def _only(fields: Mapping[str, Any], allowed: set[str]) -> None:
    for name in sorted(set(fields) - allowed):
        text = f"The property {name} is not in the list of valid properties for the resource."
        raise RefusedError(HTTPStatus.BAD_REQUEST, "PropertyUnknown", text, name)


def _choice(fields: Mapping[str, Any], name: str, kind: type[Choice], default: Choice) -> Choice:
    value = fields.get(name, default)
    if not isinstance(value, str) or value not in set(kind):
        raise _wrong_value(name, value)
    return kind(value)


def _wrong_value(name: str, value: object) -> RefusedError:
    text = f"The value {value!r} for the property {name} is not in the list of acceptable values."
    return RefusedError(HTTPStatus.BAD_REQUEST, "PropertyValueNotInList", text, repr(value), name)


def no_access() -> RefusedError:
    """What who has no session and no right credentials is told."""
    text = "There is no valid session established with the implementation."
    return RefusedError(HTTPStatus.UNAUTHORIZED, "NoValidSession", text, WWW_Authenticate='Basic realm="BMC"')


def _not_found(path: str) -> RefusedError:
    text = f"The requested resource of type {path} was not found."
    return RefusedError(HTTPStatus.NOT_FOUND, "ResourceMissingAtURI", text, path)


def _method_not_allowed(request: Request, methods: Mapping[str, Handler]) -> RefusedError:
    allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
    text = f"The method {request.method} is not allowed on this resource; allowed are: {allowed}."
    return RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "OperationNotAllowed", text, Allow=allowed)
