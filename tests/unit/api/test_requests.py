"""What holds for every request, whatever it asks."""

from __future__ import annotations

import logging
import re
import threading

import pytest

from ironic_lite import config, errors
from tests.parts.api import Service, fault

ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_every_answer_tells_the_id_of_its_request(service: Service) -> None:
    seen = set()
    for path in ("/", "/v1/nodes", "/v1/nothing", "/v1/nodes/nobody"):
        headers = service.ask("GET", path).headers
        assert headers["openstack-request-id"] == headers["x-openstack-request-id"]
        assert ID.fullmatch(headers["openstack-request-id"])
        seen.add(headers["openstack-request-id"])
    assert len(seen) == 4


def test_the_id_of_a_larger_whole_is_logged_only_if_it_looks_like_one(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    whole = "req-12345678-1234-1234-1234-123456789abc"
    answer = service.ask("GET", "/v1", headers={"X-OpenStack-Request-ID": whole})
    service.ask("GET", "/v1", headers={"X-OpenStack-Request-ID": "req-evil forged line"})
    assert answer.headers["openstack-request-id"] != whole
    assert whole in caplog.text
    assert "evil" not in caplog.text


def test_the_access_log_has_the_path_and_never_the_query(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    service.ask("GET", "/v1/nodes?owner=s3cret")
    assert re.search(r"GET '/v1/nodes' 200 [0-9.]+ ms", caplog.text)
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("path", ["/nodes", "/nodes/", "//v1//nodes", "/v1/nodes//", "/v1//nodes/"])
def test_a_path_is_understood_without_its_version_and_with_too_many_slashes(service: Service, path: str) -> None:
    assert service.ask("GET", path).json == {"nodes": []}


def test_a_json_suffix_means_nothing_before_its_version(service: Service) -> None:
    plain = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n1"}).json["uuid"]
    named = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n2.json"}).json["uuid"]
    assert service.ask("GET", "/v1/nodes/n1.json", minor=90).json["uuid"] == plain
    assert service.ask("GET", "/v1/nodes/n2.json", minor=90).json["uuid"] == named
    assert service.ask("GET", "/v1/nodes.json", minor=90).status_code == 200
    assert service.ask("GET", f"/v1/nodes/{plain}/states.json", minor=90).status_code == 200
    assert service.ask("GET", "/v1/nodes/n1.json", minor=91).status_code == 404
    assert service.ask("GET", "/v1/nodes/n2.json", minor=91).json["uuid"] == named
    assert service.ask("GET", f"/v1/nodes/{plain}.json", minor=None).status_code == 404


def test_errors_have_the_shape_that_clients_decode(service: Service) -> None:
    result = service.ask("GET", "/v1/nodes/nobody")
    assert result.status_code == 404
    assert isinstance(result.json["error_message"], str)
    assert fault(result) == {
        "faultcode": "Client",
        "faultstring": "Node nobody could not be found.",
        "debuginfo": None,
        "code": 404,
        "title": "Not Found",
        "description": "Node nobody could not be found.",
    }


def test_the_router_s_errors_have_that_shape_too(service: Service) -> None:
    assert fault(service.ask("GET", "/v1/nothing"))["faultstring"] == "There is nothing at /v1/nothing."
    refused = service.ask("PUT", "/v1/nodes", {})
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "GET, POST, OPTIONS"
    assert "PUT" in fault(refused)["faultstring"]
    assert service.ask("HEAD", "/v1/nodes").status_code == 405


def test_what_is_unexpected_is_logged_and_not_told(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ZeroDivisionError("hunter2")

    uuid = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}).json["uuid"]
    service.conductors.answers["get_boot_device"] = broken
    result = service.ask("GET", f"/v1/nodes/{uuid}/management/boot_device")
    assert result.status_code == 500
    assert result.headers["openstack-request-id"] in fault(result)["faultstring"]
    assert "hunter2" not in result.text
    assert "hunter2" in caplog.text


def test_an_absent_database_is_503_with_a_time_to_come_again(service: Service) -> None:
    service.database.dispose()
    with service.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE node_history")
        connection.exec_driver_sql("DROP TABLE ports")
        connection.exec_driver_sql("DROP TABLE nodes")
    result = service.ask("GET", "/v1/nodes")
    assert result.status_code == 503
    assert result.headers["Retry-After"] == "2"


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/*", "text/html, application/json;q=0.5"])
def test_json_is_accepted(service: Service, accept: str) -> None:
    assert service.ask("GET", "/v1", headers={"Accept": accept}).status_code == 200


def test_nothing_but_json_is_answered(service: Service) -> None:
    result = service.ask("GET", "/v1", headers={"Accept": "text/html"})
    assert result.status_code == 406
    assert "application/json" in fault(result)["faultstring"]


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"nonsense", b"\xff\xfe", b'"\xed\xa0\x80"', b"[]", b"1" * 5000, b'{"extra": {"n": 1e999}}',
        b'{"driver": "fake-hardware", "extra": {"a": ' + b"[" * 30 + b"]" * 30 + b"}}",
    ],
)  # fmt: skip
def test_a_body_that_is_no_such_thing_is_400(service: Service, raw: bytes) -> None:
    assert service.ask("POST", "/v1/nodes", raw=raw).status_code == 400


def test_a_body_is_bounded(service: Service) -> None:
    config.CONF.set_override("max_json_body_size", 1, "api")
    result = service.ask("POST", "/v1/nodes", raw=b" " * 1025)
    assert result.status_code == 413
    assert "1 KiB" in fault(result)["faultstring"]


def test_many_small_steps_cannot_build_what_no_body_may_hold(service: Service) -> None:
    uuid = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}).json["uuid"]
    nested: object = {}
    for _ in range(20):
        nested = {"a": nested}
    deep = [
        {"op": "add", "path": "/extra/a", "value": nested},
        {"op": "add", "path": "/extra" + "/a" * 20, "value": nested},
    ]
    assert service.ask("PATCH", f"/v1/nodes/{uuid}", deep).status_code == 400
    assert service.ask("GET", f"/v1/nodes/{uuid}").json["extra"] == {}


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/nodes?colour=red", ["colour", "maintenance"]),
        ("/v1/nodes?limit=0", ["limit"]),
        ("/v1/nodes?limit=ten", ["limit", "ten"]),
        ("/v1/nodes?limit=1&limit=2", ["limit", "once"]),
        ("/v1/nodes?marker=me", ["marker", "me"]),
        ("/v1/nodes?sort_key=colour", ["sort_key", "colour", "provision_state"]),
        ("/v1/nodes?sort_key=extra", ["sort_key", "extra"]),
        ("/v1/nodes?sort_dir=up", ["sort_dir", "asc, desc"]),
        ("/v1/nodes?maintenance=perhaps", ["maintenance", "perhaps", "true"]),
        ("/v1/nodes?provision_state=asleep", ["provision_state", "asleep", "manageable"]),
        ("/v1/nodes?fields=uuid,colour", ["colour", "driver_info"]),
        ("/v1/nodes?fields=uuid&detail=true", ["fields", "detail"]),
        ("/v1/nodes/detail?fields=uuid", ["fields"]),
        ("/v1/nodes?owner=%00", ["owner"]),
        ("/v1/ports?address=zz", ["address", "zz"]),
        ("/v1/drivers?type=new", ["type", "classic, dynamic"]),
    ],
)
def test_a_wrong_argument_is_400_and_named(service: Service, path: str, named: list[str]) -> None:
    result = service.ask("GET", path)
    assert result.status_code == 400
    assert all(word in fault(result)["faultstring"] for word in named)


def test_detail_was_unknown_before_it_came(service: Service) -> None:
    assert service.ask("GET", "/v1/nodes?detail=true", minor=42).status_code == 400
    assert service.ask("GET", "/v1/nodes?detail=true", minor=43).status_code == 200


def test_links_begin_with_the_public_endpoint(service: Service) -> None:
    config.CONF.set_override("public_endpoint", "https://metal.example.org/", "api")
    created = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"})
    uuid = created.json["uuid"]
    assert created.headers["Location"] == f"https://metal.example.org/v1/nodes/{uuid}"
    assert created.json["links"][1] == {"href": f"https://metal.example.org/nodes/{uuid}", "rel": "bookmark"}


def test_only_so_many_requests_wait_for_a_bmc(service: Service) -> None:
    uuid = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}).json["uuid"]
    inside, leave = threading.Semaphore(0), threading.Event()

    def slow() -> list[str]:
        inside.release()
        assert leave.wait(20)
        return ["pxe"]

    service.conductors.answers["supported_boot_devices"] = slow
    path = f"/v1/nodes/{uuid}/management/boot_device/supported"
    asking = [threading.Thread(target=service.ask, args=("GET", path)) for _ in range(2)]  # noqa: TID251  # two clients
    for one in asking:
        one.start()
        assert inside.acquire(timeout=20)
    refused = service.ask("GET", path)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert service.ask("GET", f"/v1/nodes/{uuid}").status_code == 200
    leave.set()
    for one in asking:
        one.join()
    assert service.ask("GET", path).json == {"supported_boot_devices": ["pxe"]}


@pytest.mark.parametrize("kind", [one for one in errors.BY_NAME.values() if one.retry_after_s is not None])
def test_an_error_that_passes_says_when(service: Service, kind: type[errors.Error]) -> None:
    uuid = service.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}).json["uuid"]
    service.conductors.answers["change_power"] = kind("Later.")
    result = service.ask("PUT", f"/v1/nodes/{uuid}/states/power", {"target": "power on"})
    assert result.status_code == kind.status
    assert result.headers["Retry-After"] == str(kind.retry_after_s)
    assert fault(result)["faultstring"] == "Later."
