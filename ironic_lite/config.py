"""Options: declared beside the code that reads them, read live, typed.

    class conf(Section, name="conductor"):
        heartbeat_interval = Int(10, min=1, help="Seconds between two heartbeats of a conductor.")

    clock.wait(stop, conf.heartbeat_interval)    # an int to the type checker too

Names and defaults are Ironic's where the meaning is equal. Values come, the later winning, from the defaults, the
files (`--config-file`, `--config-dir`), the environment (`OS_<SECTION>__<OPTION>`).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

from oslo_config import cfg

from ironic_lite import __version__, errors

T = TypeVar("T")

CONF: Final = cfg.ConfigOpts()
SECTIONS: Final[list[type[Section]]] = []
DEFAULT_FILES: Final = ("/etc/ironic-lite/ironic.conf",)
LOG = logging.getLogger(__name__)


class Option(Generic[T]):
    """One option of a section; reading the attribute reads the configuration as it is now."""

    kind: ClassVar[type[cfg.Opt]]

    def __init__(self, default: T, *, help: str, **more: Any) -> None:
        self.default, self.help, self._more = default, help, more

    def __set_name__(self, owner: type[Section], name: str) -> None:
        self.name, self.section = name, owner

    def __get__(self, instance: object, owner: type[Section]) -> T:
        value: T = CONF[self.section.group][self.name] if self.section.group != "DEFAULT" else CONF[self.name]
        return value

    def declare(self) -> cfg.Opt:
        """The option as oslo.config knows it."""
        return self.kind(self.name, default=self.default, help=self.help, **self._more)


class Int(Option[int]):
    """A whole number; `min` and `max` bound it."""

    kind = cfg.IntOpt


class Float(Option[float]):
    """A number; `min` and `max` bound it."""

    kind = cfg.FloatOpt


class Bool(Option[bool]):
    """True or False in any of oslo.config's spellings."""

    kind = cfg.BoolOpt


class Str(Option[str]):
    """A text; `choices` bounds it, `secret=True` keeps it out of logs."""

    kind = cfg.StrOpt


class OptionalStr(Option[str | None]):
    """A text, or nothing."""

    kind = cfg.StrOpt


class Strings(Option[list[str]]):
    """A comma-separated list."""

    kind = cfg.ListOpt


class Texts(Option[list[str]]):
    """A text that may be given more than once."""

    kind = cfg.MultiStrOpt


class Port(Option[int]):
    """A TCP port."""

    kind = cfg.PortOpt


class Host(Option[str]):
    """An IP address or a host name."""

    kind = cfg.HostAddressOpt


class Section:
    """A group of options. Declaring one registers it; nothing is read before `load`."""

    group: ClassVar[str]
    options: ClassVar[dict[str, Option[Any]]]

    def __init_subclass__(cls, *, name: str) -> None:
        cls.group = name
        cls.options = {key: value for key, value in vars(cls).items() if isinstance(value, Option)}
        SECTIONS.append(cls)
        CONF.register_opts(
            [option.declare() for option in cls.options.values()], group=None if name == "DEFAULT" else name
        )


def load(arguments: Sequence[str], *, program: str, files: Iterable[str] | None = None) -> None:
    """Read the configuration.

    `files` replaces the default files when the arguments name none.
    Raises `ConfigurationError` naming the option and what is allowed; ends the process for --help and --version.
    """
    known = [path for path in (DEFAULT_FILES if files is None else files) if Path(path).exists()]
    try:
        CONF(
            list(arguments),
            project="ironic-lite",
            prog=program,
            version=__version__,
            default_config_files=known,
            default_config_dirs=[],
        )
        check()
    except cfg.Error as exc:
        raise errors.ConfigurationError(reason=str(exc)) from exc


def check() -> None:
    """Read every option once, so that a wrong value is told at start and not at its first use."""
    for section in SECTIONS:
        for name in section.options:
            try:
                getattr(section, name)
            except cfg.ConfigSourceValueError as exc:
                why = str(exc).rpartition(" is not valid: ")[2]  # in front of it oslo.config names no section
                reason = f"Option [{section.group}]{name} is not valid: {why.rstrip('.')}."
                raise errors.ConfigurationError(reason=reason) from exc


def reload() -> None:
    """Read the files again and take over what may change while running (SIGHUP)."""
    CONF.mutate_config_files()
    warn_of_unknown()


def warn_of_unknown() -> None:
    """Say which options of the files and the environment mean nothing here. They never stop the service."""
    for source, section, name in sorted(_unknown_in_files() | _unknown_in_environment()):
        LOG.warning("Option [%s]%s of %s is not known to ironic_lite and has no effect.", section, name, source)


def _files() -> list[Path]:
    directories = [Path(directory) for directory in CONF.config_dir or ()]
    return [Path(file) for file in CONF.config_file or ()] + [
        file for directory in directories for file in sorted(directory.glob("*.conf"))
    ]


def _known(section: str, name: str) -> bool:
    key = name.replace("-", "_")
    if section == "DEFAULT":
        return key in CONF
    return section in CONF and key in CONF[section]


def _unknown_in_files() -> set[tuple[str, str, str]]:
    unknown = set()
    for path in _files():
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(str(path), sections).parse()
        unknown |= {
            (str(path), section, name)
            for section, options in sections.items()
            for name in options
            if not _known(section, name)
        }
    return unknown


def _unknown_in_environment() -> set[tuple[str, str, str]]:
    named = (re.fullmatch(r"OS_([A-Z0-9_]+?)__([A-Z0-9_]+)", name) for name in os.environ)
    pairs = (
        (match[0], "DEFAULT" if match[1] == "DEFAULT" else match[1].lower(), match[2].lower())
        for match in named
        if match
    )
    return {("the environment", section, name) for _, section, name in pairs if not _known(section, name)}
