"""API versions: what each one brought, and how a request chooses one.

Every `since=` of a field, an argument, a value, a verb or a route is a key of `HISTORY` (a test proves it), and the
highest key is the highest version that we speak. What is in here and not in our resources answers 404.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeVar

from ironic_lite import errors

T = TypeVar("T")

HISTORY: Final[dict[int, str]] = {
    1: "Nodes, ports, chassis and drivers with their actions.",
    2: "A node that is free for use is called available; before, its state was shown as nothing.",
    3: "Nodes show driver_internal_info.",
    4: "The state manageable, with the verbs manage and provide.",
    5: "Nodes have names, and paths take them.",
    6: "Inspection: its verb, its states and when it began and ended.",
    7: "Nodes show the running clean_step.",
    8: "The argument fields chooses what an answer holds.",
    9: "Node lists can be filtered by provision_state.",
    10: "Node names may hold every unreserved character of RFC 3986.",
    11: "A new node begins in enroll.",
    12: "RAID: the wanted and the actual configuration of a node.",
    13: "The verb abort, for cleaning that waits.",
    14: "Nodes link to their states, drivers to their properties.",
    15: "The verb clean, with steps of the caller's choice.",
    16: "Node lists can be filtered by driver.",
    17: "The verb adopt takes over a machine that is in use.",
    18: "Ports show internal_info.",
    19: "Ports have local_link_connection and pxe_enabled.",
    20: "Nodes have a network_interface.",
    21: "Nodes have a resource_class, and lists can be filtered by it.",
    22: "Agents look up their node and send heartbeats.",
    23: "Port groups.",
    24: "Ports belong to port groups; nodes list their port groups.",
    25: "A node can leave its chassis.",
    26: "Port groups have a mode and properties.",
    27: "Soft power off and soft reboot, and a timeout for power changes.",
    28: "Virtual network interfaces attach to nodes.",
    29: "A non-maskable interrupt can be sent to a node.",
    30: "Drivers tell their type and, in detail, their interfaces.",
    31: "The interfaces of a node can be chosen one by one.",
    32: "Volume connectors and volume targets.",
    33: "Nodes have a storage_interface.",
    34: "Ports have a physical_network.",
    35: "A rebuild takes a config drive.",
    36: "Heartbeats carry the agent's version.",
    37: "Nodes have traits.",
    38: "The verbs rescue and unrescue, and the rescue_interface.",
    39: "The state inspect wait is shown as such.",
    40: "BIOS settings and the bios_interface.",
    41: "An inspection that waits can be aborted.",
    42: "Nodes show why the service itself put them into maintenance: fault.",
    43: "The argument detail on collections.",
    44: "Nodes show the running deploy_step.",
    45: "A change of driver can reset the interfaces.",
    46: "Nodes belong to conductor groups.",
    47: "Automated cleaning can be switched for each node.",
    48: "Nodes can be protected from being undeployed and deleted.",
    49: "Conductors can be listed; nodes tell theirs.",
    50: "Nodes have an owner.",
    51: "Nodes have a description that lists can be searched by.",
    52: "Allocations.",
    53: "Ports tell whether they are on a smart NIC.",
    54: "External events.",
    55: "Deploy templates.",
    56: "A config drive can be given as JSON.",
    57: "Allocations can be changed.",
    58: "Allocations for nodes that are in use already.",
    59: "A config drive can hold vendor data.",
    60: "Allocations have an owner.",
    61: "Nodes can be retired.",
    62: "Agents prove themselves with a token.",
    63: "Indicators of a machine can be read and set.",
    64: "Ports of unmanaged networks.",
    65: "Nodes have a lessee.",
    66: "Nodes have network_data.",
    67: "A virtual interface can name the port that it attaches to.",
    68: "Agents hand over their TLS certificate.",
    69: "A deployment takes steps.",
    70: "Cleaning can do without a ramdisk.",
    71: "Rules of access know scopes.",
    72: "Heartbeats carry the agent's status.",
    73: "deploy and undeploy are other words for active and deleted.",
    74: "BIOS settings tell their registry.",
    75: "Nodes show boot_mode and secure_boot.",
    76: "Boot mode and secure boot can be changed.",
    77: "Driver lists take fields.",
    78: "Nodes have a history.",
    79: "Allocations prefer the node that bears their name.",
    80: "Projects may create and delete nodes of their own.",
    81: "Nodes keep the inventory of their last inspection.",
    82: "Nodes can be put in shards.",
    83: "Nodes can have a parent and children.",
    84: "Agents of in-band inspection report in.",
    85: "The verb unhold.",
    86: "Firmware components and the firmware_interface.",
    87: "The verb service works on machines that are in use.",
    88: "Ports have names.",
    89: "Virtual media can be attached and detached.",
    90: "Ports know the keys of VTEP gateways.",
    91: "A path that ends in .json means just that.",
    92: "Runbooks.",
    93: "Virtual media can be listed.",
    94: "A port can name its node by name.",
    95: "A node can forbid being powered off.",
    96: "Inspection rules.",
    97: "Ports have a description.",
    98: "Paths of JSON patches can escape tildes and slashes.",
    99: "Port lists can be filtered by conductor group.",
    100: "Ports tell their vendor.",
    101: "Ports have a category.",
    102: "Port groups have a physical_network.",
    103: "Port groups have a category.",
    104: "Nodes have an instance_name.",
    105: "Ports forget the keys of VTEP gateways.",
    106: "Port group lists can be filtered by shard.",
    107: "Answers tell the id of their request.",
    108: "Service can do without a ramdisk.",
    109: "Nodes show their health.",
    110: "A deployment that waits can be aborted.",
}

MIN: Final = min(HISTORY)
MAX: Final = max(HISTORY)

MIN_HEADER: Final = "X-OpenStack-Ironic-API-Minimum-Version"
MAX_HEADER: Final = "X-OpenStack-Ironic-API-Maximum-Version"
CHOSEN_HEADER: Final = "X-OpenStack-Ironic-API-Version"


@lru_cache(maxsize=256)
def negotiate(ironic: str | None, openstack: str | None) -> int:
    """The minor version that the two headers ask for; OpenStack-API-Version wins, and nothing asks for the lowest.

    Raises `NotAcceptable` for what is out of range or no version at all.
    """
    asked = _of_baremetal(openstack) or ironic
    if asked is None:
        return MIN
    asked = asked.strip()
    if asked == "latest":
        return MAX
    major, _, minor = asked.partition(".")
    if major == "1" and minor.isdecimal() and minor.isascii() and len(minor) < 6 and MIN <= int(minor) <= MAX:
        return int(minor)
    raise errors.NotAcceptable(reason=f"API version {asked!r} is not served; versions are 1.{MIN} to 1.{MAX}.")


def _of_baremetal(header: str | None) -> str | None:
    """Our part of a header such as `compute 2.90, baremetal 1.81`."""
    for entry in (header or "").split(","):
        service, _, version = entry.strip().partition(" ")
        if service == "baremetal":
            return version or "nothing"
    return None


def require(minor: int, since: int, what: str) -> None:
    """Raise `NotAcceptable` if `what` came later than the request's version."""
    if minor < since:
        raise errors.NotAcceptable(reason=f"{what} needs API version 1.{since} or later; the request is 1.{minor}.")


def as_of(minor: int, steps: Mapping[int, T]) -> T:
    """What holds at a version, where `steps` maps the versions that brought a change to what came with them."""
    return steps[max(since for since in steps if since <= minor)]
