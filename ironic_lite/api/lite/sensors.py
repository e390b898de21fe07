"""/lite/v1/nodes/{ident}/sensors: the sensors of a machine."""

from __future__ import annotations

import falcon

from ironic_lite import errors
from ironic_lite.api import answers, arguments
from ironic_lite.api.caller import Caller
from ironic_lite.api.resource import timestamp
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.node import c, find
from ironic_lite.conductor import sensors


class Sensors:
    """GET /lite/v1/nodes/{ident}/sensors: the sensors of a machine as last collected, and when that was."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        node = find(self._serving, caller, ident, (c.uuid, c.driver, c.conductor_group))
        owner = self._serving.members.owner(node.uuid, node.driver, node.conductor_group)
        report = self._serving.conductors.call(owner, sensors.latest_sensors, node.uuid)
        if report is None:
            raise errors.NotFound(
                f"No sensors of node {node.uuid} have been collected yet by conductor {owner.hostname}."
            )
        collected_at = report.collected_at.replace(tzinfo=None)
        answers.show(resp, {"collected_at": timestamp(collected_at), "sensors": report.sensors})
