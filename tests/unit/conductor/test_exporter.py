"""Sensors as Prometheus reads them: by the names and labels of ironic-prometheus-exporter."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ironic_lite.clock import ManualClock
from ironic_lite.conductor.exporter import Exporter, series, text
from ironic_lite.conductor.reports import Reports, SensorReport, Subject

AT = datetime.datetime(2026, 1, 1, 0, 0, 10, 500000)  # noqa: DTZ001  # UTC without a zone, as everywhere here
NODE = {"node_name": "n1", "node_uuid": "u1", "instance_uuid": "i1"}
Found = dict[str, list[tuple[dict[str, str], float]]]


def read(said: str) -> Found:
    """What a scraper reads: by metric, each series' labels and value."""
    return {
        family.name: [(dict(sample.labels), sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(said)
    }


def found(driver: str, sensors: dict[str, Any], subject: Subject | None = None) -> Found:
    told = subject or Subject("u1", "n1", "i1", driver), SensorReport(AT, sensors)
    return read(text(series(told)))


def test_when_the_node_last_told() -> None:
    assert found("redfish", {}) == {"baremetal_last_payload_timestamp_seconds": [(NODE, 1767225610.0)]}


def test_a_node_without_name_and_instance() -> None:
    told = found("redfish", {}, Subject("u1", None, None, "redfish"))
    [(labels, _)] = told["baremetal_last_payload_timestamp_seconds"]
    assert labels == {"node_uuid": "u1", "instance_uuid": "u1"}


EXTRA = {"Manufacturer": "Contoso", "Model": 'R"1\\', "UUID": "s-1"}
MACHINE = {"manufacturer": "Contoso", "model": 'R"1\\', "redfish_system_uuid": "s-1"}
TEMPERATURE = {"identity": "0", "max_reading_range_temp": 120, "min_reading_range_temp": None, "reading_celsius": 41.5,
               "physical_context": "CPU", "sensor_number": 7, "state": "Enabled", "health": "OK"}  # fmt: skip


def test_redfish_temperatures() -> None:
    told = found("redfish", {"Extra": EXTRA, "Temperature": {"0@1": TEMPERATURE}})
    labels = {**NODE, **MACHINE, "identity": "0", "max_reading_range_temp": "120", "physical_context": "CPU",
              "sensor_number": "7", "state": "Enabled", "health": "OK", "sensor_id": "0@1"}  # fmt: skip
    assert told["baremetal_temp_cpu_celsius"] == [(labels, 41.5)]
    assert told["baremetal_temperature_status"] == [(labels, 0.0)]


@pytest.mark.parametrize(
    ("kind", "metric", "not_labels"),
    [("Fan", "baremetal_fan_status", {"reading", "reading_units"}),
     ("Power", "baremetal_power_status", {"last_power_output_watts", "line_input_voltage"}),
     ("Drive", "baremetal_drive_status", set())],
)  # fmt: skip
@pytest.mark.parametrize(("health", "value"), [("OK", 0.0), ("Warning", 1.0), ("Critical", 2.0)])
def test_redfish_health(kind: str, metric: str, not_labels: set[str], health: str, value: float) -> None:
    sensor = {"model": "M", "reading": 3600, "reading_units": "RPM", "last_power_output_watts": 180,
              "line_input_voltage": 230, "state": "Enabled", "health": health}  # fmt: skip
    [(labels, told)] = found("redfish", {"Extra": EXTRA, kind: {"x": sensor}})[metric]
    assert told == value
    own = {name: str(one) for name, one in sensor.items() if name not in not_labels}
    assert labels == {**NODE, **MACHINE, **own, "sensor_id": "x"}  # the sensor's model, not the machine's


@pytest.mark.parametrize(
    "change", [{"state": "Absent"}, {"state": None}, {"reading_celsius": None}, {"reading_celsius": "41"},
               {"physical_context": None}],
)  # fmt: skip
def test_a_temperature_that_says_nothing_is_left_out(change: dict[str, Any]) -> None:
    assert len(found("redfish", {"Temperature": {"0@1": TEMPERATURE | change}})) == 1


def test_health_that_is_unknown_is_left_out() -> None:
    told = found("redfish", {"Temperature": {"0@1": TEMPERATURE | {"health": None}}})
    assert "baremetal_temp_cpu_celsius" in told
    assert "baremetal_temperature_status" not in told


def test_odd_names_are_made_fit() -> None:
    told = found(
        "redfish", {"Extra": {"Asset-Tag": "a"}, "Temperature": {"0": TEMPERATURE | {"physical_context": "CPU 1/a"}}}
    )
    assert told["baremetal_temp_cpu_1_a_celsius"][0][0]["asset_tag"] == "a"


# Sensor of ipmitool -> the metric that the exporter makes of it.
IPMI = [
    ("Temperature", "Temp (0x01)", "41 degrees C", "baremetal_temp_celsius", 41.0),
    ("Temperature", "Inlet Temp (0x05)", "21 degrees C", "baremetal_inlet_temp_celsius", 21.0),
    ("Fan", "Fan4B (0x43)", "5520 RPM", "baremetal_fan_rpm", 5520.0),
    ("Fan", "Fan Redundancy (0x78)", "0h", "baremetal_fan_redundancy", 0.0),
    ("Voltage", "Voltage 1 (0x6d)", "230 Volts", "baremetal_voltage_volts", 230.0),
    ("Voltage", "3.3V B PG (0x15)", "State Asserted", "baremetal_voltage_b_pg_asserted", 1.0),
    ("Voltage", "5V SW PG (0x10)", "1h", "baremetal_voltage_sw_pg", 1.0),
    ("Current", "Pwr Consumption (0x77)", "182 Watts", "baremetal_pwr_consumption", 182.0),
    ("Power", "PS Redundancy (0x77)", "0h", "baremetal_power_ps_redundancy", 0.0),
    ("Power", "Status (0x85)", "Presence detected", "baremetal_power_status", 1.0),
    ("Memory", "ECC Corr Err (0x01)", "0h", "baremetal_memory_ecc_corr_err", 0.0),
    ("Memory", "iDPT Mem Fail (0x40)", "0h", "baremetal_idpt_mem_fail", 0.0),
    ("System", "POST Err (0x1e)", "0h", "baremetal_system_post_err", 0.0),
    ("Version", "TPM Presence (0x41)", "0h", "baremetal_tpm_presence", 0.0),
    ("Watchdog2", "OS Watchdog Time (0x23)", "0h", "baremetal_os_watchdog_time", 0.0),
    ("Management", "Front LED Panel (0x26)", "1h", "baremetal_front_led_panel", 1.0),
    ("Memory", "USB Over-current (0x3f)", "0h", "baremetal_memory_usb_over_current", 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "ident", "reading", "metric", "value"), IPMI)
def test_ipmi(kind: str, ident: str, reading: str, metric: str, value: float) -> None:
    sensor = {"Sensor ID": ident, "Entity ID": "7.1 (System Board)", "Sensor Reading": reading, "Status": "ok"}
    told = found("ipmi", {kind: {ident: sensor}})
    labels = {**NODE, "entity_id": "7.1 (System Board)", "sensor_id": ident, "status": "ok"}
    assert told[metric] == [(labels, value)]


@pytest.mark.parametrize(
    ("kind", "reading"),
    [("Temperature", "No Reading"), ("Temperature", "Disabled"), ("Temperature", "hot"), ("Current", "Present"),
     ("Temperature", ""), ("Button/switch", "1h")],
)  # fmt: skip
def test_ipmi_sensors_without_a_number_are_left_out(kind: str, reading: str) -> None:
    sensor = {"Sensor ID": "x (0x01)", "Entity ID": "7.1", "Sensor Reading": reading, "Status": "ok"}
    assert len(found("ipmi", {kind: {"x (0x01)": sensor}})) == 1


def kept(*uuids: str, missing: bool = False) -> Reports:
    reports = Reports()
    for uuid in uuids:
        report = SensorReport(AT, {"Temperature": {"0@1": TEMPERATURE}}, {"Power": "why"} if missing else {})
        reports.keep(Subject(uuid, None, None, "redfish"), report, 0)
    return reports


def test_a_scrape_tells_how_old_and_whether_whole() -> None:
    for missing, whole in ((False, 1.0), (True, 0.0)):
        clock = ManualClock(AT)
        clock.advance(12.5)
        said = read(Exporter(kept("u1", missing=missing), clock, lambda: 100).text())
        assert said["baremetal_sensors_age_seconds"] == [({"node_uuid": "u1", "instance_uuid": "u1"}, 12.5)]
        assert said["baremetal_sensors_complete"][0][1] == whole


@pytest.mark.parametrize(
    ("limit", "nodes", "left_out"), [(0, [], 0.0), (9, ["a"], 2.0), (10, ["a", "b"], 1.0), (99, ["a", "b", "c"], 0.0)]
)
def test_a_scrape_has_a_bound_and_says_whom_it_leaves_out(limit: int, nodes: list[str], left_out: float) -> None:
    exporter = Exporter(kept("c", "a", "b"), ManualClock(AT), lambda: limit)
    told = read(exporter.text())
    assert [labels["node_uuid"] for labels, _ in told.get("baremetal_temp_cpu_celsius", [])] == nodes
    assert [sample.value for sample in exporter.samples()] == [left_out]


def test_each_metric_is_described_once() -> None:
    said = Exporter(kept("a", "b"), ManualClock(AT), lambda: 100).text()
    assert said.count("# TYPE baremetal_temp_cpu_celsius gauge\n") == 1
    assert said.count("\nbaremetal_temp_cpu_celsius{") == 2
