"""Pieces of firmware of a machine. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

BIOS: Final = "bios"
BMC: Final = "bmc"
NIC: Final = "nic:"  # before the name of the adapter


class Component(msgspec.Struct, frozen=True):
    """One piece of firmware and its version; and what it runs on, where the BMC says."""

    component: str
    version: str
    vendor: str | None = None
    model: str | None = None
    serial_number: str | None = None
