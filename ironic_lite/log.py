"""Logging: modules ask the standard library for a logger, and oslo.log decides once where the lines go.

Each line carries the request's id while there is one. What looks like a secret is masked on every handler, in messages
and in tracebacks. oslo.utils' `mask_password` is not used: it knows neither `X-Auth-Token: ...` nor
`redfish_password: ...`, and of `{'password': 'x', 'name': 'n', 'zone': 'b'}` it loses the zone.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final

from oslo_log import log as oslo_log

from ironic_lite import __version__
from ironic_lite.config import CONF, Bool, Section

request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)

LOG = logging.getLogger(__name__)

_LINE: Final = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [%(request_id)s] %(message)s"
# What these say at DEBUG holds bodies and headers of logins: never shown, whatever the options say.
_WIRE: Final = ("sushy", "urllib3", "requests", "pyghmi")
_QUIET: Final = ("urllib3=WARN", "requests=WARN", "sushy=INFO", "pyghmi=INFO", "sqlalchemy=WARN", "alembic=WARN")

_SECRET: Final = re.compile(
    r"""((?:pass(?:word|phrase|wd)|secret|token|credential|private_?key|authorization)[\w-]{0,40}\\*["']?\s{0,3}[:=]\s{0,3})
        (?: \\*"[^"]*" | \\*'[^']*' | (?:(?:basic|bearer)\s)?[^\s"',;&}\])\\]+ )""",
    re.IGNORECASE | re.VERBOSE,
)
# The last part of the URL that a BMC sends a node's events to.
_EVENT_TOKEN: Final = re.compile(r"""(/lite/v1/events/[^\s/"']{1,64}/)[^\s/"']+""")
_URL_SECRET: Final = re.compile(r"(://[^\s/:@]{0,64}:)[^\s/@]{1,256}(?=@)")


class conf(Section, name="DEFAULT"):
    """What is logged at start."""

    log_options = Bool(default=True, help="Whether every option is logged at start, at level DEBUG, secrets masked.")


def masked(text: str) -> str:
    """The text with `***` in place of what a key, a header or a URL says is secret."""
    return _EVENT_TOKEN.sub(r"\1***", _URL_SECRET.sub(r"\1***", _SECRET.sub(r"\1***", text)))


def register() -> None:
    """Make oslo.log's options known; before the options are read."""
    oslo_log.set_defaults(
        logging_context_format_string=_LINE,
        default_log_levels=[*oslo_log.get_default_log_levels(), *_QUIET],
    )
    oslo_log.register_options(CONF)


def setup(program: str) -> None:
    """Send lines where the options say (stderr without any); after the options are read."""
    if not (CONF.log_file or CONF.log_dir or CONF.use_journal or CONF.use_syslog):
        CONF.set_default("use_stderr", True)  # oslo.log's own default is stdout
    oslo_log.setup(CONF, program, __version__)
    guard()
    if conf.log_options:
        CONF.log_opt_values(LOG, logging.DEBUG)


def guard() -> None:
    """Put the mask on every handler there is; again after each reload, which may have made new ones."""
    for handler in _handlers():
        if not any(isinstance(each, Mask) for each in handler.filters):
            handler.addFilter(Mask())
        if not isinstance(handler.formatter, MaskedFormatter):
            handler.setFormatter(MaskedFormatter(handler.formatter or logging.Formatter()))


def _handlers() -> Iterator[logging.Handler]:
    yield from logging.root.handlers
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            yield from logger.handlers


class Mask(logging.Filter):
    """Finishes a record's message, masks it, and adds the request's id."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.INFO and record.name.split(".")[0] in _WIRE:
            return False
        record.msg, record.args = masked(record.getMessage()), ()
        identity = request_id.get()
        if identity:
            record.request_id = identity
            record.extra = {"request_id": identity}  # where oslo.log's JSON looks
        return True


class MaskedFormatter(logging.Formatter):
    """Masks what another formatter adds to the message: tracebacks and summaries of errors."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        line = self._inner.format(record)
        summary = getattr(record, "error_summary", "")
        if summary and not record.exc_info:  # of an error being handled; the message says what there is to say
            line = line.removesuffix(f": {summary}")
        if line.startswith("{"):
            return json.dumps(_masked_values(json.loads(line)))
        return masked(line)


def _masked_values(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {key: _masked_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked_values(item) for item in value]
    return value
