"""BIOS settings of a machine, and what its registry says that they may be. Pure."""

from __future__ import annotations

import msgspec


class Setting(msgspec.Struct, frozen=True):
    """One setting, its value as text. What comes behind the value is None where the BMC has no registry of it."""

    name: str
    value: str | None
    attribute_type: str | None = None
    allowable_values: list[str] | None = None
    lower_bound: int | None = None
    upper_bound: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    read_only: bool | None = None
    reset_required: bool | None = None
    unique: bool | None = None
