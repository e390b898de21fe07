"""What every request passes: its path made plain, its id, its version, its caller; and one line of access log."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

import falcon

from ironic_lite import errors
from ironic_lite.api import metrics, versions
from ironic_lite.api.caller import Caller
from ironic_lite.clock import Clock, new_uuid
from ironic_lite.config import OptionalStr, Section
from ironic_lite.domain import events
from ironic_lite.log import request_id
from ironic_lite.metrics import Histogram

LOG: Final = logging.getLogger(__name__)

# From here on a path that ends in .json means just that.
LITERAL_JSON_SINCE: Final = 91

_ROOTS: Final = ("v1", "lite", "metrics")
# Whoever asks for what is ours alone need not name a version of Ironic's.
_ASSUMED: Final = "latest"
_GLOBAL_ID: Final = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class conf(Section, name="api"):
    """How the API is seen from outside."""

    public_endpoint = OptionalStr(
        None, help="URL that links begin with, such as https://metal.example.org; without it, that of the request."
    )


class Reception:
    """Falcon middleware in front of all resources; counts what they answer into `durations`."""

    def __init__(self, clock: Clock, durations: Histogram) -> None:
        self._clock, self._durations = clock, durations

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Prepare the request. Raises `NotAcceptable` for a version or a media type that we do not speak."""
        req.context.began = self._clock.monotonic()
        identity = self._identify(req, resp)
        req.path = plain_path(req.path)
        if req.path == metrics.PATH or is_event(req.path):
            return  # who scrapes, or sends events, knows neither versions nor what we accept
        resp.set_headers(_VERSION_HEADERS)
        is_ours = req.path == "/lite" or req.path.startswith("/lite/")
        ironic = req.env.get("HTTP_X_OPENSTACK_IRONIC_API_VERSION", _ASSUMED if is_ours else None)
        minor = versions.negotiate(ironic, req.env.get("HTTP_OPENSTACK_API_VERSION"))
        resp.set_header(versions.CHOSEN_HEADER, f"1.{minor}")
        _refuse_other_media(req)
        stripped = _without_suffix(req) if ironic is not None and minor < LITERAL_JSON_SINCE else None
        base_url = conf.public_endpoint or req.prefix
        req.context.caller = Caller(minor, identity, base_url.rstrip("/"), stripped)

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: Any, _params: dict[str, Any]
    ) -> None:
        """Hide what the request's version does not know yet: as not found, unless the resource says otherwise."""
        if (told := getattr(resource, "since", None)) is None:
            return
        since, minor = _for_method(told, req.method), req.context.caller.minor
        if since is not None and minor < since:
            text = f"{req.path} needs API version 1.{since} or later; the request is 1.{minor}."
            raise (_for_method(getattr(resource, "too_new", None), req.method) or errors.NotFound)(text)

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: Any, _succeeded: bool) -> None:  # noqa: FBT001  # Falcon's signature
        """Log the request. The query is left out, and of an event the path too: they may hold what is secret."""
        duration_s = self._clock.monotonic() - req.context.began
        self._durations.observe(duration_s, *metrics.labels(req, resp))
        event = is_event(req.path)
        level = logging.DEBUG if event or req.path == metrics.PATH else logging.INFO  # these come all the time
        path = f"{events.PREFIX}/..." if event else req.path
        LOG.log(level, "%s %r %s %.1f ms", req.method, path, resp.status_code, duration_s * 1000)
        request_id.set(None)

    @staticmethod
    def _identify(req: falcon.Request, resp: falcon.Response) -> str:
        """A new id for the request; the id of a larger whole is logged beside it if it looks like one."""
        identity = f"req-{new_uuid()}"
        request_id.set(identity)
        resp.set_headers({"x-openstack-request-id": identity, "openstack-request-id": identity})
        given = req.env.get("HTTP_X_OPENSTACK_REQUEST_ID")
        if given is not None and _GLOBAL_ID.fullmatch(given):
            LOG.info("This request belongs to %s.", given)
        return identity


def is_event(path: str) -> bool:
    """Whether the path is that of an event, or meant to be: then it holds a token."""
    return path.startswith(f"{events.PREFIX}/")


def plain_path(path: str) -> str:
    """The path with its /v1 (which clients may leave out), and without empty segments."""
    if path.startswith("/v1/") and "//" not in path and not path.endswith("/"):
        return path
    segments = [segment for segment in path.split("/") if segment]
    if segments and segments[0] not in _ROOTS:
        segments.insert(0, "v1")
    return "/" + "/".join(segments)


def _for_method(told: Any, method: str) -> Any:
    """What a resource says of all its methods alike, or of each by its name."""
    return told.get(method) if isinstance(told, Mapping) else told


def _without_suffix(req: falcon.Request) -> str | None:
    """Take .json from the end of the path, and return the last segment without it."""
    if not req.path.endswith(".json"):
        return None
    req.path = req.path.removesuffix(".json")
    return str(req.path.rpartition("/")[2])


def _refuse_other_media(req: falcon.Request) -> None:
    accept = req.env.get("HTTP_ACCEPT", "*/*")
    if "application/json" not in accept and "*/*" not in accept and not req.client_accepts_json:
        raise errors.NotAcceptable(reason=f"Answers are application/json; the request accepts only {accept!r}.")


_VERSION_HEADERS: Final = {
    versions.MIN_HEADER: f"1.{versions.MIN}",
    versions.MAX_HEADER: f"1.{versions.MAX}",
}
