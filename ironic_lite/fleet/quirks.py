"""Ways in which vendors' BMCs differ for good, as opposed to faults, which pass."""

from __future__ import annotations

from enum import StrEnum


class Quirk(StrEnum):
    """A standing peculiarity; a BMC may have several."""

    ALREADY_THERE = "already-there"  # AMI, OpenBMC: 409 for a reset to the power state that is there
    POST_LOCK = "post-lock"  # HPE: 400 UnableToModifyDuringSystemPOST for a boot override while the machine starts
    NEEDS_ENABLED = "needs-enabled"  # Supermicro: 400 for a boot override without BootSourceOverrideEnabled
    MODE_FOLLOWS = "mode-follows"  # Supermicro: a new boot source without a mode sets the mode back to Legacy
    MODE_AT_BOOT = "mode-at-boot"  # many: a new boot mode, or secure boot, is taken and shows only after a boot
    CLOSES = "closes"  # many: no connection is kept, each answer says so
    CHUNKED = "chunked"  # some: bodies come in chunks, without a length
    NO_EXPAND = "no-expand"  # older ones: 400 for $expand
    REDIRECTS = "redirects"  # some: /redfish/v1 without its slash is answered 308, with where to go
    SLOW_ROOT = "slow-root"  # Lenovo: the service root takes three seconds
    NO_SESSIONS = "no-sessions"  # some: POST of a session is 404, only Basic authentication works
    NO_BASIC = "no-basic"  # some: Basic authentication is refused, only sessions work
    STALE_ETAG = "stale-etag"  # several: the ETag of the system does not change with its power
    BUSY_AFTER_RESET = "busy-after-reset"  # Dell: 503 to everything but GET for five seconds after a reset
    EVENTS_LOST = "events-lost"  # subscriptions are taken, and nothing is ever sent
    EVENTS_TWICE = "events-twice"  # each event is sent twice
    EVENTS_LATE = "events-late"  # events come up to two seconds late, and so in any order
    SHA1_ONLY = "sha1-only"  # older IPMI BMCs: cipher suite 3 alone
    OPERATOR_ONLY = "operator-only"  # IPMI accounts without the administrator's role
