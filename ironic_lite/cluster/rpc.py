"""JSON-RPC 2.0 between the API and the conductors: the decorated function is the method.

    @rpc.method
    def change_power(conductor: Conductor, node: str, target: PowerTarget) -> None: ...

    conductors.call(host, power.change_power, node=uuid, target=PowerTarget.ON)

The function's name is the name on the wire and its signature the schema, so that a type checker sees both ends. Its
first parameter is the serving process, which never crosses. Parameters are only ever added with defaults, and
conductors upgrade before APIs (`tests/contract/rpc.json` records the surface). Errors cross by the name of their class
(`errors.BY_NAME`). Only what is decorated can be called.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import cached_property
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, get_type_hints

import msgspec

from ironic_lite import errors
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.log import request_id

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

LOG = logging.getLogger(__name__)
METHODS: Final[dict[str, Method[Any, Any, Any]]] = {}
QUICK_S: Final = 5.0


class Method(Generic[S, P, R]):
    """A conductor's function as the wire sees it. Not callable, on purpose: a call crosses a process."""

    def __init__(
        self, function: Callable[Concatenate[S, P], R], *, limit_s: float | None = None, waits_for_bmc: bool = False
    ) -> None:
        """Without `limit_s` an answer may take as long as the transport allows."""
        self.name = function.__name__
        self.run = function
        self.limit_s, self.waits_for_bmc = limit_s, waits_for_bmc

    @cached_property
    def parameters(self) -> tuple[inspect.Parameter, ...]:
        """What crosses the wire, in order."""
        return tuple(inspect.signature(self.run).parameters.values())[1:]

    @cached_property
    def schema(self) -> type[msgspec.Struct]:
        """The struct of the parameters."""
        hints = get_type_hints(self.run)
        fields = [
            (one.name, hints[one.name]) if one.default is one.empty else (one.name, hints[one.name], one.default)
            for one in self.parameters
        ]
        return msgspec.defstruct(self.name, fields, forbid_unknown_fields=True)

    @cached_property
    def result(self) -> Any:
        """The type of what comes back."""
        return get_type_hints(self.run)["return"]


def method(function: Callable[Concatenate[S, P], R]) -> Method[S, P, R]:
    """Let `function` be called from another process."""
    return _known(Method(function))


def quick_method(function: Callable[Concatenate[S, P], R]) -> Method[S, P, R]:
    """The same for one that only looks into memory: a conductor that does not answer soon will not answer."""
    return _known(Method(function, limit_s=QUICK_S))


def bmc_method(function: Callable[Concatenate[S, P], R]) -> Method[S, P, R]:
    """The same for a function whose answer waits for a BMC: both ends cap how many of these run at a time."""
    return _known(Method(function, waits_for_bmc=True))


def _known(made: Method[S, P, R]) -> Method[S, P, R]:
    if made.name in METHODS:
        raise TypeError(f"Two RPC methods are called {made.name}.")
    METHODS[made.name] = made
    return made


class Call(msgspec.Struct, forbid_unknown_fields=True):
    """A request (JSON-RPC 2.0, 4): named parameters only, no batches, no notifications.

    Its id is the request id of the API call behind it, so that both processes log the same one.
    """

    method: str
    id: str
    params: dict[str, Any] = {}
    jsonrpc: str = "2.0"


class Failure(msgspec.Struct):
    """A JSON-RPC error object; `data` names the class of the error."""

    code: int
    message: str
    data: dict[str, str] = {}


class Reply(msgspec.Struct, omit_defaults=True):
    """A response; exactly one of result and error counts."""

    id: str | None
    jsonrpc: str = "2.0"
    result: Any = None
    error: Failure | None = None


class Dispatcher(Generic[S]):
    """Answers calls in the name of one serving process."""

    def __init__(self, serving: S, bmc_waits: BMCWaits) -> None:
        self._serving, self._bmc_waits = serving, bmc_waits

    def serve(self, body: bytes) -> bytes:
        """Answer one request. Never raises: what goes wrong is the answer."""
        identity = None
        try:
            call = _REQUEST.decode(body)
            identity = call.id
            request_id.set(identity)
            reply = Reply(id=identity, result=self._run(call))
        except msgspec.DecodeError as exc:
            reply = Reply(id=identity, error=Failure(-32600, f"This is not a JSON-RPC 2.0 request: {exc}."))
        except errors.Error as exc:
            reply = Reply(id=identity, error=Failure(exc.status, str(exc), {"class": type(exc).__name__}))
        except Exception:  # the last handler of a request: the caller gets an answer, the log the trace
            LOG.exception("RPC request %s failed unexpectedly.", identity)
            reply = Reply(id=identity, error=Failure(500, "The conductor failed unexpectedly; its log says why."))
        return _ENCODER.encode(reply)

    def _run(self, call: Call) -> Any:
        found = METHODS.get(call.method)
        if found is None:
            raise errors.Invalid(f"There is no RPC method {call.method!r}.")
        try:
            parameters = msgspec.convert(call.params, found.schema)
        except msgspec.ValidationError as exc:
            raise errors.Invalid(f"RPC method {call.method} was called wrongly: {exc}.") from exc
        named = msgspec.structs.asdict(parameters)
        if not found.waits_for_bmc:
            return found.run(self._serving, **named)
        with self._bmc_waits.turn():
            return found.run(self._serving, **named)


def request(identity: str, method: Method[S, P, R], *args: P.args, **kwargs: P.kwargs) -> bytes:
    """The bytes of one call."""
    named = dict(zip((one.name for one in method.parameters), args, strict=False)) | kwargs
    return _ENCODER.encode(Call(method=method.name, id=identity, params=named))


def result(method: Method[S, P, R], body: bytes) -> R:
    """What the other side returned. Raises what it raised."""
    try:
        reply = _REPLY.decode(body)
        if reply.error is None:
            value: R = msgspec.convert(reply.result, method.result)
            return value
    except msgspec.DecodeError as exc:
        raise errors.Error(f"The answer to RPC method {method.name} makes no sense: {exc}.") from exc
    kind = errors.BY_NAME.get(reply.error.data.get("class", ""), errors.Error)
    raise kind(reply.error.message)


_REQUEST: Final = msgspec.json.Decoder(Call)
_REPLY: Final = msgspec.json.Decoder(Reply)
_ENCODER: Final = msgspec.json.Encoder()
