"""What the demo shows, as pure functions of data to text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ironic_lite.demo.client import API_VERSION

UNKNOWN: Final = "unknown"
COLUMNS: Final = ("Name", "Power", "Provision state", "Temperature", "Last change")


@dataclass(frozen=True, slots=True)
class Row:
    """One node as it is shown."""

    name: str
    power: str
    provision: str
    error: str | None = None
    temperature_c: float | None = None
    changed_s: float = 0.0  # seconds since the last change that was seen


def row(node: Mapping[str, Any], temperature_c: float | None = None) -> Row:
    """The row of a node as the API tells it: states with the targets that they go to."""
    return Row(
        name=node["name"] or node["uuid"],
        power=_towards(node["power_state"] or UNKNOWN, node.get("target_power_state")),
        provision=_towards(node["provision_state"], node.get("target_provision_state")),
        error=node.get("last_error"),
        temperature_c=temperature_c,
    )


def _towards(state: str, target: str | None) -> str:
    return f"{state} -> {target}" if target and target != state else state


def table(rows: Sequence[Row], width: int) -> list[str]:
    """The lines of the table, none longer than `width` characters."""
    cells = [COLUMNS, *((one.name, one.power, one.provision, _celsius(one), _ago(one.changed_s)) for one in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip() for line in cells]
    lines.insert(1, "-" * len(lines[0]))
    lines += [f"{one.name}: {one.error}" for one in rows if one.error]
    return [line[:width] for line in lines]


def _celsius(one: Row) -> str:
    return "-" if one.temperature_c is None else f"{one.temperature_c:.0f} C"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 60 else f"{seconds / 60:.0f} min ago"


def changes(before: Mapping[str, Row], rows: Iterable[Row]) -> list[str]:
    """A line for each thing that is different from before, by name."""
    lines = []
    for now in rows:
        old = before.get(now.name)
        if old is None or old.power != now.power:
            lines.append(f"{now.name}: {now.power}")
        if old is None or old.provision != now.provision:
            lines.append(f"{now.name}: {now.provision}")
        if now.error and (old is None or old.error != now.error):
            lines.append(f"{now.name}: {now.error}")
    return lines


def summary(rows: Sequence[Row]) -> str:
    """One line about all nodes."""
    powers = ", ".join(f"{count} {power}" for power, count in sorted(Counter(one.power for one in rows).items()))
    warmest = max((one.temperature_c for one in rows if one.temperature_c is not None), default=None)
    heat = "" if warmest is None else f"; the warmest sensor reads {warmest:.0f} C"
    return f"{len(rows)} nodes: {powers or 'none'}{heat}"


def redraw(lines: Sequence[str], over: int) -> str:
    """The control text that draws the lines in place of the `over` lines drawn before."""
    back = f"\x1b[{over}A" if over else ""
    return f"\r{back}\x1b[J" + "".join(f"{line}\n" for line in lines)


def next_steps(url: str, node: str, bmc: str) -> str:
    """What to type next; `bmc` is the beginning of a curl command that asks the BMC of that node."""
    return f"""
The service answers at {url}. In another terminal, with OpenStack's own client:

  pip install python-ironicclient
  export OS_AUTH_TYPE=none OS_ENDPOINT={url}
  baremetal node list
  baremetal node power on {node}

or without it:

  curl -s {url}/v1/nodes
  curl -s -X PUT {url}/v1/nodes/{node}/states/power \\
    -H 'Content-Type: application/json' -H 'X-OpenStack-Ironic-API-Version: {API_VERSION}' \\
    -d '{{"target": "power on"}}'

and to see what happens while a BMC hangs, until it no longer does:

  {bmc}/fleet/faults -d '{{"fault": "hang"}}'
  {bmc}/fleet/faults -X DELETE

Ctrl-C ends the demo.
"""
