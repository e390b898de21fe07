"""The states and targets of a node, in Ironic's words."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Power(StrEnum):
    """What a machine's power is. Unknown is None, a state of its own that never triggers an action."""

    ON = "power on"
    OFF = "power off"
    ERROR = "error"


class PowerTarget(StrEnum):
    """What a client may ask of a machine's power (PUT /v1/nodes/{ident}/states/power)."""

    ON = "power on"
    OFF = "power off"
    REBOOT = "rebooting"
    SOFT_OFF = "soft power off"
    SOFT_REBOOT = "soft rebooting"

    @property
    def settles_as(self) -> Power:
        """The state that the machine is in when the change is done."""
        return Power.OFF if self in (PowerTarget.OFF, PowerTarget.SOFT_OFF) else Power.ON

    @property
    def always_acts(self) -> bool:
        """Whether the change is made even if the machine is in that state already."""
        return self in (PowerTarget.REBOOT, PowerTarget.SOFT_REBOOT)

    @property
    def soft(self) -> bool:
        """Whether the operating system is asked rather than the power cut."""
        return self in (PowerTarget.SOFT_OFF, PowerTarget.SOFT_REBOOT)


class BootDevice(StrEnum):
    """Where a machine boots from."""

    PXE = "pxe"
    DISK = "disk"
    CDROM = "cdrom"
    BIOS = "bios"
    SAFE = "safe"
    WANBOOT = "wanboot"
    UEFIHTTP = "uefihttp"


class BootMode(StrEnum):
    """How a machine's firmware boots."""

    UEFI = "uefi"
    BIOS = "bios"


class Fault(StrEnum):
    """Why the service itself put a node into maintenance."""

    POWER = "power failure"
    CLEAN = "clean failure"
    RESCUE_ABORT = "rescue abort failure"
    SERVICE = "service failure"


class Provision(StrEnum):
    """The thirty provision states (Ironic 39, API 1.115)."""

    ENROLL = "enroll"
    VERIFYING = "verifying"
    MANAGEABLE = "manageable"
    AVAILABLE = "available"
    INSPECTING = "inspecting"
    INSPECT_WAIT = "inspect wait"
    INSPECT_FAILED = "inspect failed"
    CLEANING = "cleaning"
    CLEAN_WAIT = "clean wait"
    CLEAN_HOLD = "clean hold"
    CLEAN_FAILED = "clean failed"
    DEPLOYING = "deploying"
    DEPLOY_WAIT = "wait call-back"
    DEPLOY_HOLD = "deploy hold"
    DEPLOY_FAILED = "deploy failed"
    ACTIVE = "active"
    DELETING = "deleting"
    ERROR = "error"
    ADOPTING = "adopting"
    ADOPT_FAILED = "adopt failed"
    RESCUING = "rescuing"
    RESCUE_WAIT = "rescue wait"
    RESCUE = "rescue"
    RESCUE_FAILED = "rescue failed"
    UNRESCUING = "unrescuing"
    UNRESCUE_FAILED = "unrescue failed"
    SERVICING = "servicing"
    SERVICE_WAIT = "service wait"
    SERVICE_HOLD = "service hold"
    SERVICE_FAILED = "service failed"


_P = Provision

STABLE: Final = frozenset({_P.ENROLL, _P.MANAGEABLE, _P.AVAILABLE, _P.ACTIVE, _P.ERROR, _P.RESCUE})

# States in which a conductor works on the node: if it ends, the work is taken up again.
WORKING: Final = frozenset({
    _P.VERIFYING, _P.INSPECTING, _P.CLEANING, _P.DEPLOYING, _P.DELETING, _P.ADOPTING, _P.RESCUING, _P.UNRESCUING,
    _P.SERVICING,
})  # fmt: skip

# States in which a node waits for something that its row names; `domain.provision.WORK_OF` has those that hold, too.
WAITING: Final = frozenset({_P.INSPECT_WAIT, _P.CLEAN_WAIT, _P.DEPLOY_WAIT, _P.RESCUE_WAIT, _P.SERVICE_WAIT})

# States in which somebody counts on the machine's boot mode staying as it is.
UNSTABLE: Final = WORKING | WAITING

# States whose node may be deleted; any other needs maintenance mode. `available` by option.
DELETABLE: Final = frozenset({_P.ENROLL, _P.MANAGEABLE, _P.ADOPT_FAILED, _P.AVAILABLE})

# States in which driver and interfaces may change; any other needs maintenance mode.
REDRIVABLE: Final = frozenset({_P.ENROLL, _P.INSPECTING, _P.INSPECT_WAIT, _P.MANAGEABLE, _P.AVAILABLE})

# States that accept a PATCH although a target provision state is set.
PATCHABLE_ON_THE_WAY: Final = frozenset({
    _P.DEPLOY_FAILED, _P.INSPECTING, _P.INSPECT_FAILED, _P.INSPECT_WAIT, _P.CLEAN_FAILED, _P.ERROR, _P.VERIFYING,
    _P.ADOPT_FAILED, _P.RESCUE_FAILED, _P.UNRESCUE_FAILED, _P.SERVICE_HOLD, _P.SERVICE_FAILED,
})  # fmt: skip

# States in which power is not synced: nobody has promised yet, or the ramdisk decides.
NOT_SYNCED: Final = frozenset({_P.ENROLL, _P.DEPLOY_WAIT, _P.CLEAN_WAIT, _P.ADOPT_FAILED})

# States in which a client may not change the power.
NO_POWER_CHANGE: Final = frozenset({_P.CLEANING, _P.CLEAN_WAIT})
