"""/v1/conductors: every conductor that ever registered, and whether it serves now."""

from __future__ import annotations

from typing import Any, Final

import falcon
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import answers, arguments
from ironic_lite.api.arguments import Argument
from ironic_lite.api.caller import Caller, links
from ironic_lite.api.collection import Collection
from ironic_lite.api.resource import Field, Resource, Scene, timestamp
from ironic_lite.api.serving import Serving
from ironic_lite.db.tables import conductors as table

c: Final = table.c


def _links(scene: Scene, hostname: str) -> list[dict[str, str]]:
    return links(scene.base_url, f"conductors/{hostname}")


def _alive(scene: Scene, hostname: str) -> bool:
    return any(one.hostname == hostname for one in scene.ring.members)


class Conductor(Resource, noun="conductor"):
    """A conductor."""

    created_at = Field(column=c.created_at, show=timestamp, selectable=False)
    updated_at = Field(column=c.updated_at, show=timestamp, selectable=False)
    hostname = Field(column=c.hostname, summary=True)
    conductor_group = Field(column=c.conductor_group, summary=True)
    drivers = Field(column=c.drivers, show=sorted)
    links = Field(selectable=False, derive=_links, needs=(c.hostname,))
    alive = Field(summary=True, derive=_alive, needs=(c.hostname,))


COLLECTION: Final = Collection(
    name="conductors",
    resource=Conductor,
    source=table,
    id_column=c.id,
    marker=c.hostname,
    marker_is=arguments.text,
    filters={},
)


class Conductors:
    """GET /v1/conductors."""

    since = 49

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answers.show(resp, COLLECTION.show(self._serving, req))


class ConductorItem:
    """GET /v1/conductors/{hostname}."""

    since = 49

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, hostname: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, {"fields": Argument(arguments.words, repeats=True)})
        view = (
            Conductor.selection(caller.minor, given["fields"]) if "fields" in given else Conductor.detail(caller.minor)
        )
        with self._serving.database.read() as connection:
            row: Any = connection.execute(sa.select(*view.columns).where(c.hostname == hostname)).first()
        if row is None:
            raise errors.ConductorNotFound(conductor=hostname)
        answers.show(resp, view.render(row, Scene(caller, self._serving.members)))
