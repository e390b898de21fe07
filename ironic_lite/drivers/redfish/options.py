"""The options of `bmc.py`, apart from it: declaring them must not load sushy, which only a visit needs."""

from __future__ import annotations

from ironic_lite.config import Int, Section


class conf(Section, name="redfish"):  # a section reads as `conf.option`
    """How many BMCs to keep, and how long to wait for a machine."""

    connection_cache_size = Int(
        20000,
        min=1,
        help="Number of BMCs whose session and connection are kept for reuse, as far as three quarters of the open "
        "files go.",
    )
    boot_mode_config_timeout = Int(
        900,
        min=0,
        help="Seconds that a change of boot mode or secure boot may take to show, with the restart of the machine that "
        "it may need; 0 leaves a change that does not show at once to the machine's next boot.",
    )
