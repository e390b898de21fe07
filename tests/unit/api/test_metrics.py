"""/metrics of the API: for whoever scrapes, with series that no client can add to, and for every API process."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import hypothesis
import hypothesis.strategies as st
import pytest

from ironic_lite.api import metrics
from ironic_lite.api.app import routes
from ironic_lite.api.workers import Workers
from ironic_lite.metrics import CONTENT_TYPE, Registry
from tests.parts.api import Service
from tests.parts.scrapes import Scrape

COUNT = "ironic_lite_http_request_duration_seconds_count"


def scrape(service: Service, **headers: str) -> Scrape:
    result = service.ask("GET", "/metrics", minor=None, headers=headers)
    assert result.status_code == 200
    assert result.headers["Content-Type"] == CONTENT_TYPE
    return Scrape(result.text)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Accept": "text/plain"},
        {"Accept": "application/openmetrics-text;version=1.0.0"},
        {"OpenStack-API-Version": "baremetal 9.9"},
    ],
)
def test_a_scraper_needs_no_version_and_no_json(service: Service, headers: dict[str, str]) -> None:
    scrape(service, **headers)
    result = service.ask("GET", "/metrics", minor=None, headers=headers)
    assert not any("ironic-api" in name.lower() for name in result.headers)


def test_only_get_is_answered(service: Service) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "HEAD"):
        result = service.ask(method, "/metrics", minor=None)
        assert result.status_code == 405, method
        assert "GET" in result.headers["Allow"]


def test_requests_are_counted_by_method_template_and_class_of_status(service: Service) -> None:
    assert service.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "secret-name"}).status_code == 201
    for _ in range(3):
        assert service.ask("GET", "/v1/nodes/secret-name").status_code == 200
    assert service.ask("GET", "/nodes/another-name").status_code == 404
    now = scrape(service)
    labels = ("method", "route", "status")
    assert {tuple(dict(one)[label] for label in labels): count for one, count in now.series(COUNT).items()} == {
        ("POST", "/v1/nodes", "2xx"): 1,
        ("GET", "/v1/nodes/{ident}", "2xx"): 3,
        ("GET", "/v1/nodes/{ident}", "4xx"): 1,
    }
    assert "secret-name" not in now.text


def test_a_refused_request_is_counted_too(service: Service) -> None:
    refused = service.ask("GET", "/v1/nodes", minor=None, headers={"OpenStack-API-Version": "baremetal 9.9"})
    assert refused.status_code == 406
    assert scrape(service).value(COUNT, status="4xx") == 1


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@hypothesis.settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "BREW", "SETTAGS", "PROPFIND"]),
    st.text("abz09/{}-._~", max_size=12),
)
def test_no_client_can_add_series(service: Service, method: str, path: str) -> None:
    service.ask(method, f"/{path}", minor=None)
    labels = [dict(series) for series in scrape(service).series(COUNT)]
    templates = {*routes(service.app_parts), "none"}
    assert {one["route"] for one in labels} <= templates
    assert {one["method"] for one in labels} <= {*metrics._METHODS, "other"}


def test_a_scrape_costs_no_statement_and_no_line_at_info(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    statements = service.statements()
    scrape(service)
    assert (statements, caplog.messages) == ([], [])


def test_counts_never_go_back(service: Service) -> None:
    before = scrape(service).counters()
    for _ in range(5):
        service.ask("GET", "/v1/nodes")
        now = scrape(service).counters()
        assert all(now[one] >= value for one, value in before.items())
        before = now


def test_waits_for_a_bmc_are_counted(service: Service) -> None:
    waits = service.conductors.bmc_waits
    registry = Registry("api")
    registry.add(waits.samples)
    with ExitStack() as taken:
        for _ in range(waits.limit):
            taken.enter_context(waits.turn())
        with pytest.raises(Exception, match="requests wait for a BMC at a time"):
            taken.enter_context(waits.turn())
        now = Scrape(Workers(registry).scrape())
        assert now.value("ironic_lite_bmc_waits_busy") == waits.limit
        assert now.value("ironic_lite_bmc_waits_refused_total") == 1
    assert Scrape(Workers(registry).scrape()).value("ironic_lite_bmc_waits_busy") == 0
