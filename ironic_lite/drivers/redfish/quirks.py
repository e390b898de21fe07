"""Where BMCs differ in how they take a boot device or mode. Each line is a vendor's behaviour that operators met."""

from __future__ import annotations

from typing import Any, Final

import sushy
from sushy.resources.system import system as sushy_system

# These forget a one-time override unless told again each time that it is one.
ALWAYS_ENABLED: Final = ("supermicro",)
# These take a boot override only whole: target, how long, and mode.
ALWAYS_WHOLE: Final = ("ami", "american megatrends", "asrockrack")


def boot_override(
    system: sushy_system.System, target: sushy.BootSource, enabled: sushy.BootSourceOverrideEnabled
) -> dict[str, Any]:
    """The arguments of sushy's `set_system_boot_options` for this machine.

    How long the override lasts is sent only where it changes, as some BMCs refuse what they hold already.
    """
    vendor = (system.manufacturer or "").lower()
    now = system.boot
    options: dict[str, Any] = {"target": target}
    if vendor in ALWAYS_WHOLE:
        return {**options, "enabled": enabled, "mode": now.mode if now else None}
    if vendor in ALWAYS_ENABLED or now is None or now.enabled != enabled:
        options["enabled"] = enabled
    return options


def mode_override(system: sushy_system.System, mode: sushy.BootSourceOverrideMode) -> dict[str, Any]:
    """The arguments of sushy's `set_system_boot_options` for another boot mode, the boot device left as it is."""
    vendor = (system.manufacturer or "").lower()
    now = system.boot
    options: dict[str, Any] = {"mode": mode}
    if now is not None and vendor in ALWAYS_WHOLE:
        options["target"] = now.target
    if now is not None and vendor in (*ALWAYS_WHOLE, *ALWAYS_ENABLED):
        options["enabled"] = now.enabled
    return options
