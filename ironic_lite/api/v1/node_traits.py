"""/v1/nodes/{ident}/traits: what a node can do, as allocations ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import falcon

from ironic_lite import errors
from ironic_lite.api import answers, arguments
from ironic_lite.api.body import Body, Schema
from ironic_lite.api.serving import Serving
from ironic_lite.api.trait_names import few, trait, traits
from ironic_lite.api.v1.node import c, find, shown_traits
from ironic_lite.api.v1.nodes import again_if_changed
from ironic_lite.db import traits as db

SINCE: Final = 37


class TraitsRequest(Body):
    """The body of PUT .../traits."""

    traits: list[Any]


class NothingRequest(Body):
    """The body of PUT .../traits/{trait}, if there is one."""


_TRAITS_REQUEST: Final = Schema(TraitsRequest)
_NOTHING_REQUEST: Final = Schema(NothingRequest)


class Traits:
    """GET, PUT and DELETE /v1/nodes/{ident}/traits."""

    since = SINCE
    too_new: Final = {"GET": errors.NotAcceptable, "PUT": errors.MethodNotAllowed}

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        node = find(self._serving, req.context.caller, ident, (db.OF_NODE,))
        answers.show(resp, {"traits": shown_traits(node.traits)})

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        wanted = traits("traits", _TRAITS_REQUEST.read(req).traits, req.context.caller.minor)
        change(self._serving, req, ident, lambda _node, _had: set(wanted))
        answers.done(resp)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        change(self._serving, req, ident, lambda _node, _had: set())
        answers.done(resp)


class Trait:
    """PUT and DELETE /v1/nodes/{ident}/traits/{name}."""

    since = SINCE
    too_new: Final = {"PUT": errors.MethodNotAllowed}

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str, name: str) -> None:
        _NOTHING_REQUEST.read_optional(req)
        added = trait(name)
        change(self._serving, req, ident, lambda _node, had: set(few(sorted(had | {added}))))
        answers.done(resp)
        resp.set_header("Location", f"{req.context.caller.base_url}/v1/nodes/{ident}/traits/{added}")

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ident: str, name: str) -> None:
        def without(node: str, had: set[str]) -> set[str]:
            if name not in had:
                raise errors.TraitNotFound(node=node, trait=name)
            return had - {name}

        change(self._serving, req, ident, without)
        answers.done(resp)


def change(serving: Serving, req: falcon.Request, ident: str, rule: Callable[[str, set[str]], set[str]]) -> None:
    """Let `rule` say which traits the node of that UUID, which had these, has from now on.

    Raises what the rule raises, `NodeLocked`, or `ChangedMeanwhile` after some attempts.
    """
    arguments.refuse(req)

    def attempt() -> None:
        columns = (c.uuid, c.revision, c.reservation, c.lock_purpose, db.OF_NODE)
        node = find(serving, req.context.caller, ident, columns)
        if node.reservation is not None:
            raise errors.NodeLocked(node=node.uuid, host=node.reservation, purpose=node.lock_purpose)
        had = set(node.traits or ())
        wanted = rule(node.uuid, had)
        if wanted != had:
            db.change(serving.database, node.uuid, node.revision, added=wanted - had, removed=had - wanted)

    again_if_changed(attempt)
