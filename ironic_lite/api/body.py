"""What comes in a request's body: bounded, decoded, and refused with the name of what is wrong."""

from __future__ import annotations

from typing import Generic, TypeVar

import falcon
import msgspec

from ironic_lite import errors
from ironic_lite.config import Int, Section
from ironic_lite.web.limits import check_depth, read_body

T = TypeVar("T")


class conf(Section, name="api"):
    """Limits of a request's body."""

    max_json_body_depth = Int(25, min=1, max=500, help="Levels to which objects and lists of a body may nest.")
    max_json_body_size = Int(1024, min=1, help="Size of the largest body, in KiB.")
    max_json_body_size_provision = Int(
        65536,
        min=1,
        help="Size of the largest body of a PUT .../states/provision (it may hold a config drive), in KiB.",
    )


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A body of named values; others are refused."""


class Schema(Generic[T]):
    """What the body of one kind of request must be.

    `large` is for the one request that may carry a config drive.
    """

    def __init__(self, type_: type[T], *, large: bool = False) -> None:
        self._type, self._large = type_, large
        self._decoder = msgspec.json.Decoder(type_)

    def read(self, req: falcon.Request) -> T:
        """The body. Raises `Invalid` naming the key and what is allowed, or `BodyTooLarge`."""
        return self._decoded(self._bytes(req))

    def read_optional(self, req: falcon.Request) -> T | None:
        """The body, or None if there is none. Raises as `read`."""
        body = self._bytes(req)
        return self._decoded(body) if body.strip() else None

    def _bytes(self, req: falcon.Request) -> bytes:
        body = read_body(req.env, conf.max_json_body_size_provision if self._large else conf.max_json_body_size)
        check_depth(body, conf.max_json_body_depth)
        return body

    def _decoded(self, body: bytes) -> T:
        try:
            return self._decoder.decode(body)
        except ValueError as exc:  # msgspec's errors, bad UTF-8, and numbers of thousands of digits
            raise self._refusal(exc) from exc

    def _refusal(self, exc: ValueError) -> errors.Invalid:
        if not isinstance(exc, msgspec.ValidationError):
            return errors.Invalid(reason=f"The request body is not valid JSON: {exc}.")
        known = ""
        if isinstance(self._type, type) and issubclass(self._type, msgspec.Struct):
            known = f" Allowed keys are: {', '.join(self._type.__struct_encode_fields__)}."
        return errors.Invalid(reason=f"The request body is not acceptable: {exc}.{known}")
