"""Every option of every process: for the check of values and names at start, and for the sample file."""

from __future__ import annotations

import importlib
from typing import Final

from oslo_config import cfg

from ironic_lite.config import SECTIONS

# The roots of all modules that declare options: importing one is what declares them. None loads a BMC library, which
# a process loads when it first needs it.
DECLARED_IN: Final = (
    "ironic_lite.launcher.service",
    "ironic_lite.log",
    "ironic_lite.api.process",
    "ironic_lite.conductor.process",
    "ironic_lite.drivers.fake",
    "ironic_lite.drivers.fake_life",
    "ironic_lite.drivers.fake_parts",
    "ironic_lite.drivers.redfish.exchange",
    "ironic_lite.drivers.redfish.options",
    "ironic_lite.drivers.ipmi.options",
)


def declare() -> None:
    """Declare them all, so that a wrong value is told at start and an option of another process is not unknown."""
    for name in DECLARED_IN:
        importlib.import_module(name)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Every section and its options, as oslo.config's generator asks for them."""
    declare()
    found: dict[str, dict[str, cfg.Opt]] = {}
    for section in SECTIONS:
        found.setdefault(section.group, {}).update({name: one.declare() for name, one in section.options.items()})
    groups = sorted(found, key=lambda group: (group != "DEFAULT", group))
    return [(group, [found[group][name] for name in sorted(found[group])]) for group in groups]
