"""The options of `client.py`, apart from it: declaring them must not load pyghmi, which only a visit needs."""

from __future__ import annotations

from ironic_lite.config import Float, Section


class conf(Section, name="ipmi"):
    """How long a BMC may take."""

    command_retry_timeout = Float(
        30.0, min=1.0, help="Seconds that a visit to a BMC, its login and all that is sent again included, may take."
    )
