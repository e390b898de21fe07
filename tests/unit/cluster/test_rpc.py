"""JSON-RPC: the signature is the contract, errors keep their class, nothing else can be called."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ironic_lite import errors
from ironic_lite.cluster import rpc
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.domain.states import PowerTarget
from ironic_lite.log import request_id


class Serving:
    """A process that serves."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, PowerTarget, int | None]] = []


class Told(msgspec.Struct):
    node: str
    seen_id: str | None


@rpc.method
def ask_power(serving: Serving, node: str, target: PowerTarget, timeout_s: int | None = None) -> None:
    serving.calls.append((node, target, timeout_s))


@rpc.method
def look_up(_serving: Serving, node: str) -> Told:
    if node == "gone":
        raise errors.NodeNotFound(node=node)
    return Told(node, request_id.get())


@rpc.method
def break_down(_serving: Serving) -> None:
    raise ZeroDivisionError("a secret detail")


OURS = tuple(rpc.METHODS.pop(name) for name in ("ask_power", "look_up", "break_down"))


@pytest.fixture(autouse=True)
def _served(monkeypatch: pytest.MonkeyPatch):
    for one in OURS:
        monkeypatch.setitem(rpc.METHODS, one.name, one)


def call(serving: Serving, method: rpc.Method[Any, Any, Any], *args: object, **kwargs: object) -> object:
    answer = rpc.Dispatcher(serving, BMCWaits("Conductor here", 4)).serve(rpc.request("req-1", method, *args, **kwargs))
    return rpc.result(method, answer)


def test_arguments_arrive_as_the_types_of_the_signature():
    serving = Serving()
    assert call(serving, ask_power, "n1", PowerTarget.REBOOT) is None
    assert call(serving, ask_power, "n1", target=PowerTarget.OFF, timeout_s=5) is None
    assert serving.calls == [("n1", PowerTarget.REBOOT, None), ("n1", PowerTarget.OFF, 5)]


def test_results_and_the_request_id_arrive():
    assert call(Serving(), look_up, "n1") == Told("n1", "req-1")


def test_an_error_arrives_as_itself():
    with pytest.raises(errors.NodeNotFound, match="Node gone could not be found"):
        call(Serving(), look_up, "gone")


def test_an_unexpected_error_arrives_without_its_detail(caplog: pytest.LogCaptureFixture):
    with pytest.raises(errors.Error, match="its log says why") as told:
        call(Serving(), break_down)
    assert "secret" not in str(told.value)
    assert "ZeroDivisionError: a secret detail" in caplog.text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not a JSON-RPC"),
        (b"[]", "not a JSON-RPC"),
        (b'{"jsonrpc":"2.0","id":"1","method":"__init__"}', "There is no RPC method '__init__'"),
        (b'{"jsonrpc":"2.0","id":"1","method":"look_up","params":{}}', "missing required field `node`"),
        (b'{"jsonrpc":"2.0","id":"1","method":"look_up","params":{"node":1}}', "Expected `str`"),
        (b'{"jsonrpc":"2.0","id":"1","method":"look_up","params":{"node":"n","x":1}}', "unknown field `x`"),
        (b'{"jsonrpc":"2.0","id":"1","method":"ask_power","params":{"node":"n","target":"x"}}', "Invalid enum value"),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong(body: bytes, text: str):
    reply = msgspec.json.decode(rpc.Dispatcher(Serving(), BMCWaits("Conductor here", 4)).serve(body))
    assert text in reply["error"]["message"]
