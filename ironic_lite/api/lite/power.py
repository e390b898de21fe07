"""/lite/v1/nodes/{ident}/power and /lite/v1/conductors/{host}/power: what is known, and how old it is."""

from __future__ import annotations

from typing import Any, Final

import falcon
import msgspec

from ironic_lite import errors
from ironic_lite.api import answers, arguments
from ironic_lite.api.arguments import Argument
from ironic_lite.api.caller import Caller
from ironic_lite.api.lite.conductors import address
from ironic_lite.api.resource import timestamp
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.node import c, find
from ironic_lite.conductor import sightings

SORTED_BY: Final = ("age", "latency", "failures")
LIMIT: Final = 20
ALLOWED: Final = {"sort_by": Argument(arguments.choice(*SORTED_BY)), "limit": Argument(arguments.integer)}


class NodePower:
    """GET /lite/v1/nodes/{ident}/power: what its BMC said last, when, and what comes next.

    With max_age=SECONDS the answer waits for the BMC if what is known is older; who asks meanwhile shares the question.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, {"max_age": Argument(arguments.seconds)})
        node = find(self._serving, caller, ident, (c.uuid, c.driver, c.conductor_group))
        owner = self._serving.members.owner(node.uuid, node.driver, node.conductor_group)
        if "max_age" in given:
            found = self._serving.conductors.call(owner, sightings.look_at_power, node.uuid, given["max_age"])
        else:
            found = self._serving.conductors.call(owner, sightings.power_sighting, node.uuid)
        answers.show(resp, _shown(found))


class ConductorPower:
    """GET /lite/v1/conductors/{host}/power: all its nodes in figures, and those that stand out."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, host: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, ALLOWED)
        limit = given.get("limit", LIMIT)
        if not 0 < limit <= sightings.MOST_ROWS:
            raise errors.Invalid(reason=f"limit is {limit}; allowed are 1 to {sightings.MOST_ROWS}.")
        asked = address(self._serving, host)
        with self._serving.conductors.bmc_waits.turn():  # it may not answer soon either
            found = self._serving.conductors.call(
                asked, sightings.power_sightings, given.get("sort_by", SORTED_BY[0]), limit
            )
        shown = [_shown(one) for one in found.nodes]
        answers.show(resp, {"overview": found.overview, "nodes": shown})


def _shown(sighting: sightings.Sighting) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.structs.asdict(sighting)
    seen_at = sighting.seen_at
    return told | {"seen_at": timestamp(seen_at.replace(tzinfo=None)) if seen_at is not None else None}
