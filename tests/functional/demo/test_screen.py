from __future__ import annotations

from typing import Any

import pytest

from ironic_lite.clock import ManualClock
from ironic_lite.demo import screen
from ironic_lite.demo.screen import Row
from ironic_lite.demo.watch import TEMPERATURE_EVERY_S, Watch

OFF = Row("demo-1", "power off", "manageable")
ON = Row("demo-2", "power on", "active", temperature_c=58.6, changed_s=75)


def node(name: str, power: str | None, **more: Any) -> dict[str, Any]:
    return {"uuid": f"uuid-of-{name}", "name": name, "power_state": power, "provision_state": "manageable", **more}


def test_a_row_says_where_a_node_is_and_where_it_goes() -> None:
    assert screen.row(node("demo-1", None)).power == "unknown"
    assert screen.row(node("demo-1", "power off", target_power_state="power on")).power == "power off -> power on"
    assert screen.row(node("demo-1", "power on", target_power_state="power on")).power == "power on"
    assert screen.row(node("demo-1", "power on", target_provision_state="active")).provision == "manageable -> active"
    assert screen.row(node("", "power on")).name == "uuid-of-"


def test_the_table_is_aligned_and_never_wider_than_the_terminal() -> None:
    lines = screen.table([OFF, ON], 120)
    assert lines == [
        "Name    Power      Provision state  Temperature  Last change",
        "------------------------------------------------------------",
        "demo-1  power off  manageable       -            0 s ago",
        "demo-2  power on   active           59 C         1 min ago",
    ]
    assert max(len(line) for line in screen.table([OFF, ON], 20)) == 20


def test_the_table_ends_with_what_went_wrong() -> None:
    broken = Row("demo-1", "unknown", "enroll", error="The BMC did not answer.")
    assert screen.table([broken], 80)[-1] == "demo-1: The BMC did not answer."


def test_only_changes_are_told() -> None:
    assert screen.changes({}, [OFF]) == ["demo-1: power off", "demo-1: manageable"]
    assert screen.changes({"demo-1": OFF}, [OFF]) == []
    later = Row("demo-1", "power on", "manageable", error="The BMC did not answer.", temperature_c=40)
    assert screen.changes({"demo-1": OFF}, [later]) == ["demo-1: power on", "demo-1: The BMC did not answer."]
    assert screen.changes({"demo-1": later}, [later]) == []


def test_the_summary_counts_powers_and_tells_the_warmest() -> None:
    assert screen.summary([OFF, ON]) == "2 nodes: 1 power off, 1 power on; the warmest sensor reads 59 C"
    assert screen.summary([OFF]) == "1 nodes: 1 power off"


def test_a_redraw_goes_back_over_what_was_drawn() -> None:
    assert screen.redraw(["a", "b"], 0) == "\r\x1b[Ja\nb\n"
    assert screen.redraw(["a", "b"], 3) == "\r\x1b[3A\x1b[Ja\nb\n"


def test_the_next_steps_are_commands_for_this_service() -> None:
    text = screen.next_steps("http://127.0.0.1:1234", "demo-1", "curl -u a:b http://127.77.0.1:99")
    for command in (
        "export OS_AUTH_TYPE=none OS_ENDPOINT=http://127.0.0.1:1234\n",
        "baremetal node list\n",
        "baremetal node power on demo-1\n",
        "-X PUT http://127.0.0.1:1234/v1/nodes/demo-1/states/power ",
        """-d '{"target": "power on"}'\n""",
        "curl -u a:b http://127.77.0.1:99/fleet/faults -X DELETE\n",
    ):
        assert command in text


class Scripted:
    """A service whose nodes are what the test says."""

    def __init__(self) -> None:
        self.power: str | None = None
        self.asked_temperatures = 0

    def nodes(self) -> list[dict[str, Any]]:
        return [node("demo-1", self.power)]

    def temperature_c(self, uuid: str) -> float | None:
        assert uuid == "uuid-of-demo-1"
        self.asked_temperatures += 1
        return 40.0 + self.asked_temperatures


def test_the_watch_remembers_when_a_node_last_changed() -> None:
    clock, source = ManualClock(), Scripted()
    watch = Watch(source, clock)
    assert watch.look() == ["demo-1: unknown", "demo-1: manageable"]
    clock.advance(4.0)
    assert watch.look() == []
    assert watch.rows["demo-1"].changed_s == pytest.approx(4.0)
    source.power = "power on"
    assert watch.look() == ["demo-1: power on"]
    assert watch.rows["demo-1"].changed_s == 0.0


def test_the_watch_asks_for_sensors_only_now_and_then() -> None:
    clock, source = ManualClock(), Scripted()
    watch = Watch(source, clock)
    for _ in range(5):
        watch.look()
    assert (source.asked_temperatures, watch.rows["demo-1"].temperature_c) == (1, 41.0)
    clock.advance(TEMPERATURE_EVERY_S)
    watch.look()
    assert (source.asked_temperatures, watch.rows["demo-1"].temperature_c) == (2, 42.0)
