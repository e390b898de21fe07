"""One simulated BMC: who may ask, what each path and method does, and how often it was asked (DMTF DSP0266)."""

from __future__ import annotations

import base64
import binascii
import hmac
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, TypeVar

from ironic_lite.clock import Clock
from ironic_lite.fleet import documents, sensors
from ironic_lite.fleet.documents import Identity
from ironic_lite.fleet.faults import Faults, Kind
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


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one account of a BMC."""

    username: str
    password: str

    def match(self, username: object, password: object) -> bool:
        """Whether these are the account's own."""
        if not isinstance(username, str) or not isinstance(password, str):
            return False
        same_name = hmac.compare_digest(self.username.encode(), username.encode())
        return hmac.compare_digest(self.password.encode(), password.encode()) and same_name

    def match_basic(self, header: str) -> bool:
        """Whether an Authorization header carries them (RFC 7617)."""
        scheme, _, coded = header.partition(" ")
        try:
            username, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return scheme.lower() == "basic" and self.match(username, password)


class RefusedError(Exception):
    """A request that Redfish answers with an extended error."""

    def __init__(self, status: HTTPStatus, code: str, text: str, *arguments: str, **headers: str) -> None:
        super().__init__(text)
        document = documents.error(code, text, *arguments)
        self.response = Response(status, document, {name.replace("_", "-"): value for name, value in headers.items()})


class Redfish:
    """The service of one BMC over its machine."""

    def __init__(self, clock: Clock, identity: Identity, credentials: Credentials, machine: Machine) -> None:
        self.identity = identity
        self.machine = machine
        self.sessions = Sessions(clock)
        self.faults = Faults()
        self.quirks: frozenset[Quirk] = frozenset()
        self.counts: Counter[str] = Counter()
        self.connections = 0
        self._clock = clock
        self._credentials = credentials
        self._shown_until: tuple[Power, float] | None = None

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

    def count(self, request: Request) -> None:
        """Note that this kind of path was asked with this method."""
        method = request.method if request.method in _COUNTED_METHODS else "other"
        try:
            kind, _ = _route(request.path)
        except RefusedError:
            kind = "unknown"
        self.counts[f"{method} {kind}"] += 1

    def authorize(self, request: Request) -> None:
        """Raise `RefusedError` unless the request carries a live token or the account's credentials."""
        token, basic = request.headers.get("x-auth-token"), request.headers.get("authorization")
        if token is not None and self.sessions.touch(token):
            return
        if token is None and basic is not None and self._credentials.match_basic(basic):
            return
        raise _no_access()

    @property
    def shown_power(self) -> Power:
        """The power state that the BMC tells: the machine's own, unless a fault makes it lie."""
        if self._shown_until is not None and self._clock.monotonic() < self._shown_until[1]:
            return self._shown_until[0]
        return self.machine.power

    def readings(self) -> sensors.Readings:
        """What the sensors read now."""
        running = self.machine.power is not Power.OFF
        return sensors.read(self.identity.serial, at_s=self._clock.monotonic(), heat=self.machine.heat, running=running)

    def system(self, request: Request) -> Response:
        """GET of the system, with an ETag that changes with the document."""
        document = documents.system(self.identity, self.machine, self.shown_power)
        etag = _etag(document)
        if request.headers.get("if-none-match") == etag:
            return Response(HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
        return Response(HTTPStatus.OK, document, {"ETag": etag, "Allow": "GET, HEAD, PATCH"})

    def patch_system(self, request: Request) -> Response:
        """PATCH of the boot override."""
        document = documents.system(self.identity, self.machine, self.shown_power)
        if request.headers.get("if-match", "*") not in {"*", _etag(document)}:
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
        before = self.shown_power
        if Quirk.ALREADY_THERE in self.quirks and self.machine.power is _SETTLES.get(kind):
            raise RefusedError(HTTPStatus.CONFLICT, "NoOperation", "The machine is in that power state already.")
        try:
            self.machine.reset(kind)
        except StandbyError:
            text = "The request could not be performed because the resource is in standby."
            raise RefusedError(HTTPStatus.CONFLICT, "ResourceInStandby", text) from None
        lie = self.faults.meet(Kind.WRONG_STATE)
        self._shown_until = (before, self._clock.monotonic() + lie.seconds) if lie is not None else None
        return Response(HTTPStatus.NO_CONTENT)

    def log_in(self, request: Request) -> Response:
        """POST of a session: the token is in a header, and only there."""
        body = _body(request, allowed={"UserName", "Password"})
        if not self._credentials.match(body.get("UserName"), body.get("Password")):
            raise _no_access()
        try:
            session = self.sessions.create(self._credentials.username)
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


def _etag(document: documents.Document) -> str:
    return f'"{zlib.crc32(repr(document).encode()):08x}"'


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


def _no_access() -> RefusedError:
    text = "There is no valid session established with the implementation."
    return RefusedError(HTTPStatus.UNAUTHORIZED, "NoValidSession", text, WWW_Authenticate='Basic realm="BMC"')


def _not_found(path: str) -> RefusedError:
    text = f"The requested resource of type {path} was not found."
    return RefusedError(HTTPStatus.NOT_FOUND, "ResourceMissingAtURI", text, path)


def _method_not_allowed(request: Request, methods: Mapping[str, Handler]) -> RefusedError:
    allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
    text = f"The method {request.method} is not allowed on this resource; allowed are: {allowed}."
    return RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "OperationNotAllowed", text, Allow=allowed)
