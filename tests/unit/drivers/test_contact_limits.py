"""No contact with a BMC takes long by default. (That none is tried again and again: `tests/drivers`.)"""

from __future__ import annotations

from pathlib import Path

from ironic_lite import options
from ironic_lite.config import SECTIONS

ADR = Path(__file__).parents[3] / "docs/adr/0003-power-sync-every-60-seconds.md"
# Waiting for a machine to start, with a question to its BMC now and then.
NO_CONTACT = "boot_mode_config_timeout"


def contact_timeouts() -> dict[str, float]:
    """The defaults of the drivers' time-outs, and the limit of a whole visit."""
    options.declare()
    return {
        name: option.default
        for section in SECTIONS
        for name, option in section.options.items()
        if name == "poll_timeout"
        or (section.__module__.startswith("ironic_lite.drivers.") and "timeout" in name and name != NO_CONTACT)
    }


def test_contact_time_outs_are_at_most_30_s_and_told_where_they_differ_from_ironic():
    found = contact_timeouts()
    assert {"connect_timeout", "read_timeout", "command_retry_timeout", "poll_timeout"} <= found.keys()
    assert {name: value for name, value in found.items() if value > 30} == {}
    assert [name for name in found if f"{name}`" not in ADR.read_text()] == []
