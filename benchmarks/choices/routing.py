"""One routed request, a header read and JSON out, in process: Falcon beside a bare WSGI callable, Flask and Pecan.

Each has the same 27 routes, and the request is for one in their middle. Runs in .tox/choices.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import FrameType
from typing import Any

import falcon

from choices.figures import cpu_us, tell

BARE = "bare WSGI callable, a dict of routes"
REQUESTS = 1000
KINDS = ("allocations", "chassis", "deploy_templates", "drivers", "nodes", "portgroups", "ports", "shards", "volume")
PARTS = ("", "states", "history")
KIND, UUID, PART = "nodes", "1be26c0b-03f2-4d2e-ae87-c02d7f33c123", "states"
VERSION = "1.99"
ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET", "PATH_INFO": f"/v1/{KIND}/{UUID}/{PART}", "QUERY_STRING": "", "SCRIPT_NAME": "",
    "SERVER_NAME": "localhost", "SERVER_PORT": "6385", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost:6385",
    "HTTP_ACCEPT": "application/json", "HTTP_X_OPENSTACK_IRONIC_API_VERSION": VERSION,
    "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr, "wsgi.multithread": True,
    "wsgi.multiprocess": True, "wsgi.run_once": False,
}  # fmt: skip
HEADER = "X-OpenStack-Ironic-API-Version"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def document(ident: str, version: str | None) -> dict[str, str | None]:
    return {"uuid": ident, "power_state": "power on", "version": version}


def bare() -> Application:
    routes = {(kind, part) for kind in KINDS for part in PARTS}

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        _, _, kind, ident, part = environ["PATH_INFO"].split("/")
        if (kind, part) not in routes:
            start("404 Not Found", [])
            return []
        body = json.dumps(document(ident, environ.get("HTTP_X_OPENSTACK_IRONIC_API_VERSION"))).encode()
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return application


class _Resource:
    def on_get(self, request: falcon.Request, response: falcon.Response, ident: str) -> None:
        response.data = json.dumps(document(ident, request.get_header(HEADER))).encode()


def of_falcon() -> Application:
    application: Any = falcon.App()
    for kind in KINDS:
        for part in PARTS:
            application.add_route(f"/v1/{kind}/{{ident}}/{part}".rstrip("/"), _Resource())
    found: Application = application
    return found


def of_flask() -> Application:
    flask = importlib.import_module("flask")
    application = flask.Flask("bench")

    def view(ident: str) -> Any:
        return flask.jsonify(document(ident, flask.request.headers.get(HEADER)))

    for kind in KINDS:
        for part in PARTS:
            application.add_url_rule(f"/v1/{kind}/<ident>/{part}".rstrip("/"), f"{kind} {part}", view)
    found: Application = application
    return found


def of_pecan() -> Application:
    application: Application = importlib.import_module("choices.pecan_app").application(KINDS, HEADER)
    return application


def ask(application: Application) -> tuple[str, bytes]:
    """The status and the body of one request."""
    told: list[str] = []
    body = application(ENVIRON | {"wsgi.input": io.BytesIO()}, lambda status, *_: told.append(status))
    return told[0], b"".join(body)


def calls(work: Callable[[], object]) -> int:
    """Python functions that one call of `work` calls, its own included."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def main() -> None:
    made = {BARE: bare, "Falcon": of_falcon, "Flask": of_flask, "Pecan": of_pecan}
    counted: dict[str, float | str] = {}
    spent: dict[str, float | str] = {}
    for who, make in made.items():
        try:
            application = make()
        except ImportError as exc:
            counted[who] = spent[who] = f"no module {exc.name}"
            continue
        for _ in range(3):
            status, body = ask(application)
            assert status == "200 OK", f"{who} answers {status}"
            assert json.loads(body) == document(UUID, VERSION), f"{who} answers {body!r}"
        counted[who] = calls(partial(ask, application))
        spent[who] = cpu_us(partial(ask, application), REQUESTS)
    tell("Python calls for one routed request", counted, baseline=BARE)
    tell("CPU µs for one routed request", spent, baseline=BARE)


if __name__ == "__main__":
    main()
