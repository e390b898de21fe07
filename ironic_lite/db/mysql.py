"""MariaDB's and MySQL's connections: the server's time-outs in each one's own words, and PyMySQL's on the socket.

PyMySQL counts its time-out anew whenever something arrives; what the server may take in all, the server counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pymysql

from ironic_lite.db.deadlines import Limits


class BoundedConnection(pymysql.Connection):
    """A connection whose time-out can be changed; PyMySQL closes it when that passes."""

    def limit(self, seconds: int) -> None:
        """From here on each statement may take so long."""
        self._read_timeout = self._write_timeout = seconds


def connect(limits: Limits, arguments: Sequence[Any], options: Mapping[str, Any]) -> BoundedConnection:
    """A connection whose server knows the limits too."""
    ours = {
        "connect_timeout": limits.connect_s, "read_timeout": limits.connect_s, "write_timeout": limits.connect_s,
        "charset": "utf8mb4",
    }  # fmt: skip
    connection = BoundedConnection(*arguments, **{**ours, **options})
    try:
        version = connection.get_server_info()  # type: ignore[no-untyped-call]  # its stubs say nothing
        connection.query(f"SET SESSION {_server_limits(version, limits)}")
    except BaseException:
        connection.close()
        raise
    return connection


def _server_limits(version: str, limits: Limits) -> str:
    """The limits by the names that they have on this server."""
    locks = f"innodb_lock_wait_timeout = {limits.lock_s}, lock_wait_timeout = {limits.lock_s}"
    if "mariadb" in version.lower():
        return f"max_statement_time = {limits.statement_s}, idle_transaction_timeout = {limits.idle_s}, {locks}"
    return f"max_execution_time = {limits.statement_s * 1000}, {locks}"  # of a SELECT; MySQL bounds nothing else
