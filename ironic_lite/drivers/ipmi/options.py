"""The options of `client.py`, apart from it: declaring them must not load pyghmi, which only a visit needs."""

from __future__ import annotations

from ironic_lite.config import Float, Section


class conf(Section, name="ipmi"):
    """How long a BMC may take."""

    command_retry_timeout = Float(
        30.0, min=1.0, help="Seconds that a visit to a BMC, its login and all that is sent again included, may take."
    )
    session_reuse_interval = Float(
        35.0,
        min=0.0,
        max=50.0,
        help="Seconds between two polls of a BMC up to which its session is kept from one to the next, which takes one "
        "of its few slots for good; with longer ones each poll opens a session and ends it. 0 keeps none. BMCs end a "
        "session after 60 seconds of silence.",
    )
