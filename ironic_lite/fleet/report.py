"""What a fleet tells of itself: of one BMC, and of all."""

from __future__ import annotations

import resource
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ironic_lite.fleet.device import Device
from ironic_lite.fleet.machine import Action

if TYPE_CHECKING:
    from ironic_lite.fleet.server import Fleet


def counts(bmc: Device) -> dict[str, Any]:
    """The counters of one BMC."""
    slots = bmc.slots
    sessions = {"sessions": len(slots.ids()), "sessions_max": slots.open_max}
    return bmc.tally.told() | sessions | {"logins": slots.opened, "logins_refused": slots.refused}


def machine(bmc: Device) -> dict[str, Any]:
    """What is true of the machine, whatever its BMC tells."""
    told = bmc.machine
    return {"power": told.power, "health": told.health, "boots": told.boots, "sessions": bmc.slots.ids()}


def ledger(bmc: Device) -> dict[str, Any]:
    """The power actions that a machine has taken, oldest first; `total` counts those that were forgotten too."""
    return {"total": bmc.machine.acted, "actions": [_action(bmc, one) for one in bmc.machine.ledger]}


def actions(fleet: Fleet) -> dict[str, Any]:
    """The ledgers of all BMCs that have one, in the order of time."""
    every = [(one, device) for device in fleet.devices.values() for one in device.machine.ledger]
    every.sort(key=lambda pair: pair[0].at_s)
    total = sum(device.machine.acted for device in fleet.devices.values())
    return {"total": total, "actions": [{"address": device.address, **_action(device, one)} for one, device in every]}


def power(fleet: Fleet) -> dict[str, Any]:
    """The true power of every machine, by address."""
    return {"power": {address: device.machine.power for address, device in fleet.devices.items()}}


def fleet(whole: Fleet) -> dict[str, Any]:
    """The fleet in figures: who there is, what all have counted, what the process costs, how faults look here."""
    return {
        "bmcs": {"redfish": len(whole.redfish), "ipmi": len(whole.ipmi)},
        "listeners": _listeners(whole),
        "counts": _sums(whole),
        "faulty": Counter(device.faults.kind for device in whole.devices.values() if device.faults.kind is not None),
        "events": whole.site.outbox.counts,
        "datagrams": {"received": whole.udp.received, "lost": whole.udp.lost},
        "process": _process(),
    }


def _listeners(whole: Fleet) -> dict[str, Any]:
    own = sum(whole.has_own_listener(address) for address in whole.redfish)
    told: dict[str, Any] = {"own": own, "shared": len(whole.redfish) - own}
    if own:
        told["own: refuse, blackhole"] = "connections are refused; SYNs are not answered"
    if whole.shares_a_listener:
        told["shared: refuse, blackhole"] = "connections are accepted and then reset; or accepted and never read"
    if whole.ipmi:
        told["ipmi: refuse, blackhole"] = "datagrams are not answered, for either"
    return told


def _sums(whole: Fleet) -> dict[str, Any]:
    """Sums over all BMCs, and of what goes on at the same time the most at any one of them."""
    sums: dict[str, Any] = {"requests": Counter()}
    for device in whole.devices.values():
        for name, value in counts(device).items():
            if name == "requests":
                sums["requests"].update(value)
            elif name in _MOST:
                sums[name] = max(sums.get(name, 0), value)
            else:
                sums[name] = sums.get(name, 0) + value
    return sums


def _process() -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    statm = Path("/proc/self/statm").read_text().split()
    return {
        "cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "rss_kib": int(statm[1]) * resource.getpagesize() // 1024,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


def _action(device: Device, one: Action) -> dict[str, Any]:
    """An action as JSON has it; `at_s` is seconds from the fleet's start."""
    return {"at_s": round(one.at_s - device.site.started_s, 3), "by": one.by, "reset": one.kind, "before": one.before}


_MOST = frozenset({"connected_max", "in_flight_max", "sessions_max"})
