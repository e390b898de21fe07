"""/lite/v1/conductors/{host}: a conductor, and what it is doing."""

from __future__ import annotations

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


class ConductorStatistics:
    """GET /lite/v1/conductors/{host}: its row as /v1 shows it, and its statistics as it answers them now."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, host: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        with self._serving.database.read() as connection:
            row: Any = connection.execute(sa.select(*_VIEW.columns, *_ADDRESS).where(c.hostname == host)).first()
        if row is None:
            raise errors.ConductorNotFound(conductor=host)
        asked = conductors.Conductor(*row[-len(_ADDRESS) :])
        with self._serving.conductors.bmc_waits.turn():  # it may not answer soon either
            now = self._serving.conductors.call(asked, statistics.conductor_statistics)
        answers.show(resp, _VIEW.render(row, Scene(caller, self._serving.members)) | {"statistics": now})
