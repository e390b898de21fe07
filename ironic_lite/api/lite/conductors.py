"""/lite/v1/conductors/{host}: a conductor, and what it is doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import falcon
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import answers, arguments, versions
from ironic_lite.api.caller import Caller
from ironic_lite.api.resource import Scene
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.conductors import Conductor, c
from ironic_lite.conductor import statistics
from ironic_lite.db import conductors

_VIEW: Final = Conductor.detail(versions.MAX)
_ADDRESS: Final = (c.hostname, c.rpc_url, c.conductor_group, c.drivers)


def address(serving: Serving, host: str) -> conductors.Conductor:
    """Where that conductor is reached. Raises `ConductorNotFound`."""
    return _found(serving, host, ())[1]


def _found(serving: Serving, host: str, columns: Sequence[Any]) -> tuple[Any, conductors.Conductor]:
    with serving.database.read() as connection:
        row: Any = connection.execute(sa.select(*columns, *_ADDRESS).where(c.hostname == host)).first()
    if row is None:
        raise errors.ConductorNotFound(conductor=host)
    return row, conductors.Conductor(*row[-len(_ADDRESS) :])


class ConductorStatistics:
    """GET /lite/v1/conductors/{host}: its row as /v1 shows it, and its statistics as it answers them now."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, host: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        row, asked = _found(self._serving, host, _VIEW.columns)
        with self._serving.conductors.bmc_waits.turn():  # it may not answer soon either
            now = self._serving.conductors.call(asked, statistics.conductor_statistics)
        answers.show(resp, _VIEW.render(row, Scene(caller, self._serving.members)) | {"statistics": now})
