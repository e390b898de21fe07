"""A list of objects: arguments in, one SELECT, one page out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import falcon
import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import arguments, paging
from ironic_lite.api.arguments import Argument, Parse
from ironic_lite.api.caller import Caller
from ironic_lite.api.resource import Resource, Scene, View
from ironic_lite.api.serving import Serving
from ironic_lite.domain import names

Column = sa.ColumnElement[Any]
Given = Mapping[str, Any]


class Filter(msgspec.Struct, frozen=True):
    """An argument that narrows a list, and the condition that its value makes."""

    argument: Argument
    where: Callable[[Serving, Any], Column]


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of object is listed.

    `always` makes the conditions that hold whatever was asked. `marker` is the column that names an object in
    `next`; `sort_key` is the order when none is asked for.
    """

    name: str
    resource: type[Resource]
    source: sa.FromClause
    id_column: Column
    marker: Column
    filters: Mapping[str, Filter]
    sort_key: str = "id"
    fields_since: int = 8
    detail_since: int = 43
    marker_is: Parse = names.uuid
    always: Callable[[Given], Sequence[Column]] = lambda _given: ()

    def show(self, serving: Serving, req: falcon.Request, *, where: Sequence[Column] = ()) -> dict[str, Any]:
        """The answer to a GET of the collection, in its short form unless the arguments say otherwise."""
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, self._allowed(shapes=True))
        view, shape = self._shape(caller.minor, given)
        return self._answer(serving, req, given, view, shape, where)

    def show_detail(self, serving: Serving, req: falcon.Request, *, where: Sequence[Column] = ()) -> dict[str, Any]:
        """The answer to a GET of .../detail."""
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, self._allowed(shapes=False))
        return self._answer(serving, req, given, self.resource.detail(caller.minor), {}, where)

    def _allowed(self, *, shapes: bool) -> dict[str, Argument]:
        allowed = {**paging.ARGUMENTS, "marker": Argument(self.marker_is)}
        allowed |= {name: one.argument for name, one in self.filters.items()}
        if shapes:
            allowed["fields"] = Argument(arguments.words, since=self.fields_since, repeats=True)
            allowed["detail"] = Argument(arguments.boolean, since=self.detail_since, hidden_before=True)
        return allowed

    def _shape(self, minor: int, given: Given) -> tuple[View, dict[str, str]]:
        """The view to show, and how `next` asks for it again."""
        fields = given.get("fields")
        if given.get("detail"):
            if fields is not None:
                raise errors.Invalid(reason="The arguments fields and detail exclude each other.")
            return self.resource.detail(minor), {"detail": "True"}
        if fields is not None:
            return self.resource.selection(minor, fields), {"fields": ",".join(fields)}
        return self.resource.summary(minor), {"fields": ",".join(self.resource.summary_fields(minor))}

    def _answer(  # the one place where a request, its meaning and its shape meet
        self,
        serving: Serving,
        req: falcon.Request,
        given: Given,
        view: View,
        shape: Mapping[str, str],
        where: Sequence[Column],
    ) -> dict[str, Any]:
        caller: Caller = req.context.caller
        wanted = paging.page(given, self.sort_key)
        rows = self._rows(serving, given, view, wanted, where)
        scene = Scene(caller, serving.members)
        answer: dict[str, Any] = {self.name: [view.render(row, scene) for row in rows]}
        if len(rows) == wanted.limit:
            filters = {name: req.params[name] for name in self.filters if name in given}
            answer["next"] = paging.next_url(caller.base_url + req.path, wanted, filters, shape, rows[-1][-1])
        return answer

    def _rows(
        self, serving: Serving, given: Given, view: View, wanted: paging.Page, where: Sequence[Column]
    ) -> Sequence[sa.Row[Any]]:
        sort = paging.sort_column(wanted, self._sortable())
        conditions = [*where, *self.always(given)]
        conditions += [one.where(serving, given[name]) for name, one in self.filters.items() if name in given]
        # The marker's column comes last, whatever the view shows.
        query = sa.select(*view.columns, self.marker.label("marker_of_row")).select_from(self.source)
        with serving.database.read() as connection:
            if wanted.marker is not None:
                conditions.append(paging.after(wanted, sort, self.id_column, self._marked(connection, wanted, sort)))
            return connection.execute(paging.ordered(query.where(*conditions), wanted, sort, self.id_column)).all()

    def _marked(self, connection: sa.Connection, wanted: paging.Page, sort: Column) -> Sequence[Any]:
        query = sa.select(sort, self.id_column).select_from(self.source).where(self.marker == wanted.marker)
        row = connection.execute(query).first()
        if row is None:
            raise errors.NotFound(what=f"The {self.resource.noun} {wanted.marker} that the argument marker names")
        return row

    def _sortable(self) -> dict[str, Column]:
        plain = {name: one.column for name, one in self.resource.fields.items() if one.column is not None}
        return {"id": self.id_column} | {
            name: column for name, column in plain.items() if not isinstance(column.type, sa.JSON)
        }
