"""The surface of JSON-RPC: what another version of us may call. Recorded in `rpc.json`.

A recorded method stays, with its parameters and result; a parameter is only ever added, and only with a default.
To record an allowed change: python -m tests.contract.test_rpc > tests/contract/rpc.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ironic_lite.cluster import rpc
from ironic_lite.conductor import process

RECORDED = Path(__file__).parent / "rpc.json"


def surface() -> dict[str, dict[str, Any]]:
    """Each method with its parameters, those that must be given, its result, and the types that these refer to."""
    ours = {name: one for name, one in sorted(rpc.METHODS.items()) if one.run.__module__.startswith("ironic_lite.")}
    return {name: described(name, method) for name, method in ours.items()}


def described(name: str, method: rpc.Method[Any, ..., Any]) -> dict[str, Any]:
    types: dict[str, Any] = msgspec.json.schema(method.schema)["$defs"]
    result = msgspec.json.schema(method.result)
    return {
        "parameters": types.pop(name)["properties"],
        "required": [one.name for one in method.parameters if one.default is one.empty],
        "result": {key: value for key, value in result.items() if key != "$defs"},
        "types": types | result.get("$defs", {}),
    }


def test_the_recorded_surface_is_kept() -> None:
    now = surface()
    for name, recorded in msgspec.json.decode(RECORDED.read_bytes()).items():
        assert name in now, f"{name} was taken away from callers."
        assert recorded["parameters"].items() <= now[name]["parameters"].items(), f"{name} takes something else."
        assert set(now[name]["required"]) <= set(recorded["required"]), f"{name} needs what older callers do not send."
        assert recorded["result"] == now[name]["result"], f"{name} returns something else."
        for kind, was in recorded["types"].items():
            assert set(was.get("enum", [])) <= set(now[name]["types"][kind].get("enum", [])), f"{kind} lost a value."
            assert was.get("properties", {}).items() <= now[name]["types"][kind].get("properties", {}).items()


def test_the_record_is_fresh() -> None:
    assert process.METHODS
    assert msgspec.json.decode(RECORDED.read_bytes()) == surface()


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(surface())).decode())
