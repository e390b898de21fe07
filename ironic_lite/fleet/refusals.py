"""Requests that Redfish answers with an extended error, and the checks that find them (DSP0266)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, TypeVar

from ironic_lite.fleet import documents
from ironic_lite.fleet.http import Request, Response

Choice = TypeVar("Choice", bound=StrEnum)


class RefusedError(Exception):
    """A request that Redfish answers with an extended error."""

    def __init__(self, status: HTTPStatus, code: str, text: str, *arguments: str, **headers: str) -> None:
        super().__init__(text)
        document = documents.error(code, text, *arguments)
        self.response = Response(status, document, {name.replace("_", "-"): value for name, value in headers.items()})


def body(request: Request, *, allowed: set[str]) -> dict[str, Any]:
    """The body as an object of these properties. Raises `RefusedError`."""
    try:
        document = request.document()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        text = "The request body submitted was malformed JSON and could not be parsed by the receiving service."
        raise RefusedError(HTTPStatus.BAD_REQUEST, "MalformedJSON", text)
    only(document, allowed)
    return document


def only(fields: Mapping[str, Any], allowed: set[str]) -> None:
    """Raise `RefusedError` when there are other properties than these."""
    for name in sorted(set(fields) - allowed):
        text = f"The property {name} is not in the list of valid properties for the resource."
        raise RefusedError(HTTPStatus.BAD_REQUEST, "PropertyUnknown", text, name)


def choice(fields: Mapping[str, Any], name: str, kind: type[Choice], default: Choice) -> Choice:
    """The property as one of that kind. Raises `RefusedError`."""
    value = fields.get(name, default)
    if not isinstance(value, str) or value not in set(kind):
        raise wrong_value(name, value)
    return kind(value)


def wrong_value(name: str, value: object) -> RefusedError:
    """A value that the property does not take."""
    text = f"The value {value!r} for the property {name} is not in the list of acceptable values."
    return RefusedError(HTTPStatus.BAD_REQUEST, "PropertyValueNotInList", text, repr(value), name)


def wrong_query(name: str) -> RefusedError:
    """A query parameter that is not supported."""
    text = f"The query parameter {name} is not supported on the target resource."
    return RefusedError(HTTPStatus.BAD_REQUEST, "QueryNotSupportedOnResource", text)


def missing(name: str) -> RefusedError:
    """A property that must be there."""
    text = f"The property {name} is a required property and must be included in the request."
    return RefusedError(HTTPStatus.BAD_REQUEST, "PropertyMissing", text, name)


def no_access() -> RefusedError:
    """What who has no session and no right credentials is told."""
    text = "There is no valid session established with the implementation."
    return RefusedError(HTTPStatus.UNAUTHORIZED, "NoValidSession", text, WWW_Authenticate='Basic realm="BMC"')


def not_found(path: str) -> RefusedError:
    """A path that nothing is at."""
    text = f"The requested resource of type {path} was not found."
    return RefusedError(HTTPStatus.NOT_FOUND, "ResourceMissingAtURI", text, path)


def moved(path: str) -> RefusedError:
    """A resource that is at another path."""
    return RefusedError(HTTPStatus.PERMANENT_REDIRECT, "Success", f"The resource is at {path}.", Location=path)


def busy() -> RefusedError:
    """A service that has no time now."""
    text = "The service is temporarily unavailable."
    return RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceTemporarilyUnavailable", text, "5", Retry_After="5")


def method_not_allowed(request: Request, methods: Iterable[str]) -> RefusedError:
    """A method that the resource does not take."""
    known = list(methods)
    allowed = ", ".join([*known, *(["HEAD"] if "GET" in known else [])])
    text = f"The method {request.method} is not allowed on this resource; allowed are: {allowed}."
    return RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "OperationNotAllowed", text, Allow=allowed)
