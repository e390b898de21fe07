"""/lite/v1/nodes/{ident}/sensors: the sensors of a machine."""

from __future__ import annotations

from typing import Any, Final

import falcon

from ironic_lite import errors
from ironic_lite.api import answers, arguments, versions
from ironic_lite.api.arguments import Argument
from ironic_lite.api.caller import Caller
from ironic_lite.api.resource import timestamp
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.node import c, find
from ironic_lite.conductor import sensors
from ironic_lite.conductor.reports import SensorReport

ARGUMENTS: Final = {"history": Argument(arguments.boolean)}


class Sensors:
    """GET /lite/v1/nodes/{ident}/sensors: the sensors of a machine as last collected, and when that was.

    With `?history=true` also what was collected before that, the latest first, as far as the conductor keeps it.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, versions.MAX, ARGUMENTS)
        node = find(self._serving, caller, ident, (c.uuid, c.driver, c.conductor_group))
        owner = self._serving.members.owner(node.uuid, node.driver, node.conductor_group)
        report = self._serving.conductors.call(owner, sensors.latest_sensors, node.uuid)
        if report is None:
            raise errors.NotFound(
                f"No sensors of node {node.uuid} have been collected yet by conductor {owner.hostname}."
            )
        document = _shown(report)
        if given.get("history"):
            earlier = self._serving.conductors.call(owner, sensors.earlier_sensors, node.uuid)
            document["history"] = [_shown(one) for one in earlier]
        answers.show(resp, document)


def _shown(report: SensorReport) -> dict[str, Any]:
    collected_at = report.collected_at.replace(tzinfo=None)
    return {"collected_at": timestamp(collected_at), "sensors": report.sensors, "missing": report.missing}
