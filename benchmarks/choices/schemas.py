"""Encoding 1,000 nodes, and decoding and checking a request: msgspec beside the standard library's json."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import msgspec

from choices.figures import cpu_us, tell
from ironic_lite.clock import new_uuid
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power, PowerTarget, Provision

NODES = 1000
REQUEST = b'{"target": "soft rebooting", "timeout": 300}'
WRONG = (b'{"target": "fly"}', b'{"target": "power on", "timeout": 0}', b'{"target": "power on", "more": 1}')
SCHEMA = {
    "type": "object",
    "properties": {
        "target": {"enum": [str(target) for target in PowerTarget]},
        "timeout": {"type": ["integer", "null"], "minimum": 1},
    },
    "required": ["target"],
    "additionalProperties": False,
}


class PowerRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What SCHEMA says, as a type."""

    target: PowerTarget
    timeout: Annotated[int, msgspec.Meta(ge=1)] | None = None


def node(number: int) -> Node:
    return Node(
        uuid=new_uuid(), name=f"rack-7-{number}", driver="redfish", conductor_group="hall 2",
        driver_info={"redfish_address": f"https://192.0.2.{number % 250}", "redfish_username": "admin"},
        properties={"cpus": 64, "memory_mb": 262144, "local_gb": 960, "capabilities": "boot_mode:uefi"},
        power_state=Power.ON, provision_state=Provision.ACTIVE, instance_uuid=new_uuid(), health="OK", revision=number,
    )  # fmt: skip


def encoding() -> None:
    structs = [node(number) for number in range(NODES)]
    dicts: list[dict[str, Any]] = [msgspec.to_builtins(struct) for struct in structs]
    encode = msgspec.json.Encoder().encode
    assert json.loads(encode(structs)) == json.loads(json.dumps(dicts))
    stdlib = "json.dumps of dicts"
    ways: dict[str, Callable[[], object]] = {
        stdlib: lambda: json.dumps(dicts).encode(),
        "msgspec, of the same dicts": lambda: encode(dicts),
        "msgspec, of domain.Node": lambda: encode(structs),
    }
    tell(f"CPU ms to encode {NODES} nodes", {who: cpu_us(way, 20) / 1000 for who, way in ways.items()}, baseline=stdlib)


def decoding() -> None:
    stdlib = "json.loads, nothing checked"
    typed = msgspec.json.Decoder(PowerRequest).decode
    ways: dict[str, Callable[[bytes], object]] = {stdlib: json.loads, "msgspec, decoded and checked": typed}
    refusals: list[tuple[Callable[[bytes], object], type[Exception]]] = [(typed, msgspec.ValidationError)]
    try:
        jsonschema = importlib.import_module("jsonschema")
    except ImportError:
        pass
    else:
        validator = jsonschema.Draft202012Validator(SCHEMA)
        ways["json.loads + jsonschema"] = checked = lambda body: validator.validate(json.loads(body))
        refusals.append((checked, jsonschema.ValidationError))
    for way, refusal in refusals:
        for body in WRONG:
            assert refuses(way, body, refusal), body
    spent = {who: cpu_us(partial(way, REQUEST), 2000) for who, way in ways.items()}
    tell("CPU µs for one power request", spent, baseline=stdlib)


def refuses(way: Callable[[bytes], object], body: bytes, refusal: type[Exception]) -> bool:
    try:
        way(body)
    except refusal:
        return True
    return False


def main() -> None:
    encoding()
    decoding()


if __name__ == "__main__":
    main()
