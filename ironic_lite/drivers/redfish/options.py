"""The options of `bmc.py`, apart from it: declaring them must not load sushy, which only a visit needs."""

from __future__ import annotations

from ironic_lite.config import Int, Section


class conf(Section, name="redfish"):  # a section reads as `conf.option`
    """How many BMCs to keep."""

    connection_cache_size = Int(
        20000,
        min=1,
        help="Number of BMCs whose session and connection are kept for reuse, as far as three quarters of the open "
        "files go.",
    )
