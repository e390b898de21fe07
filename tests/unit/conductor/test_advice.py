"""What the settings add up to: each judgement at its bound, and that its advice mends what it tells of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ironic_lite import config
from ironic_lite.conductor import survey
from ironic_lite.conductor.advice import OPTIONS, Advice, Cause, Setup, judge

ROUNDS = 6  # of following all advice at once, at the very most


@pytest.fixture
def normal() -> Setup:
    """The shipped defaults on a small machine, but that threads do all the asking: they are what is to be counted."""
    return replace(survey.setup(100, (12,)), memory_mib=1024, open_files=4096, processors=1.0, poll_engine="threads")


def followed(setup: Setup, advice: list[Advice]) -> Setup:
    """The setup with everything set as advised, one after the other."""
    new = setup
    for one in advice:
        for change in one.changes:
            bound = max if change.bound == "at least" else min
            assert bound(getattr(setup, change.name), change.value) != getattr(setup, change.name), f"{one}: no change"
            new = replace(new, **{change.name: bound(getattr(new, change.name), change.value)})
    return new


def test_the_shipped_defaults_are_healthy(normal: Setup):
    assert judge(normal) == []
    assert judge(replace(normal, nodes=240, memory_mib=256)) == []  # as docs/advice.md says
    assert judge(replace(normal, nodes=2900, memory_mib=512, poll_engine="coroutines")) == []


def test_every_field_that_is_an_option_is_read_from_it():
    values = {field: config.CONF[section][name] for field, (section, name) in _options().items()}
    read = survey.setup(7, ())
    assert {field: getattr(read, field) for field in OPTIONS} == values
    assert read.nodes == 7
    assert set(Setup.__struct_fields__) - set(OPTIONS) == {
        "nodes", "api_threads", "connections", "memory_mib", "open_files", "processors",
    }  # fmt: skip


def _options() -> dict[str, tuple[str, str]]:
    found = {field: re.fullmatch(r"\[(\w+)\](\w+)", name) for field, name in OPTIONS.items()}
    return {field: (match[1], match[2]) for field, match in found.items() if match}


FEW_KEPT = {"connection_cache_size": 1000}  # so that memory and files are no matter

# Healthy, just over the bound, the cause, and what is to be set.
BOUNDS: list[tuple[dict[str, Any], dict[str, Any], Cause, str]] = [
    (
        {"nodes": 240},  # 228 x 0.5 s + 12 x 30 s = 474 s of 8 x 60 s
        {"nodes": 241},  # 228 x 0.5 s + 13 x 30 s = 504 s
        Cause.SYNC_STALLS,
        "[conductor]sync_power_state_workers to at least 9 and [conductor]periodic_max_workers to at least 9",
    ),
    ({"nodes": 0}, {"nodes": 1, "poll_timeout": 481}, Cause.SYNC_STALLS, "at least 9"),
    ({"nodes": 240, "periodic_max_workers": 20}, {"nodes": 241, "periodic_max_workers": 20}, Cause.SYNC_STALLS,
     "[conductor]sync_power_state_workers to at least 9."),
    ({"nodes": 961, "sync_power_state_interval": 0}, {"nodes": 961}, Cause.SYNC_TOO_SLOW,
     "[conductor]sync_power_state_workers to at least 33 and [conductor]periodic_max_workers to at least 33."),
    (
        {**FEW_KEPT, "nodes": 4000, "sync_power_state_workers": 132, "periodic_max_workers": 139},  # 7,900 s of 7,920
        {**FEW_KEPT, "nodes": 5000, "sync_power_state_workers": 132, "periodic_max_workers": 139},  # 9,875 s; 139 fit
        Cause.SYNC_STALLS,
        "[conductor]sync_power_state_workers to at least 139 and [conductor]sync_power_state_interval to at least 72.",
    ),
    (
        {"nodes": 240, "workers_pool_size": 99, "reserved_workers_pool_percentage": 0, "sensor_workers": 1},
        {**FEW_KEPT, "nodes": 5000, "workers_pool_size": 99, "reserved_workers_pool_percentage": 0,
         "sensor_workers": 1},
        Cause.SYNC_TOO_SLOW,  # 2 x 47 + 1 + 2 leave one of 99 to actions, with none reserved
        "[conductor]periodic_max_workers to at least 47 and [conductor]sync_power_state_interval to at least 211",
    ),
    ({"nodes": 240, "processors": 0.04}, {"nodes": 240, "processors": 0.03}, Cause.PROCESSORS,
     "[conductor]sync_power_state_interval to at least 80."),
    ({"nodes": 2900, "poll_engine": "coroutines", "processors": 0.03},
     {"nodes": 2900, "poll_engine": "coroutines", "processors": 0.02}, Cause.PROCESSORS,
     "[conductor]sync_power_state_interval to at least 87."),
    ({"sync_power_state_workers": 8}, {"sync_power_state_workers": 9}, Cause.NO_EFFECT,
     "[conductor]periodic_max_workers to at least 9."),
    ({"sync_power_state_workers": 8}, {"sync_power_state_workers": 140}, Cause.NO_EFFECT,
     "[conductor]sync_power_state_workers to at most 8."),
    ({"workers_pool_size": 24}, {"workers_pool_size": 23}, Cause.ACTIONS_CROWDED_OUT,
     "[conductor]workers_pool_size to at least 24."),
    ({"workers_pool_size": 23, "reserved_workers_pool_percentage": 0},
     {"workers_pool_size": 22, "reserved_workers_pool_percentage": 0}, Cause.ACTIONS_CROWDED_OUT,
     "[conductor]workers_pool_size to at least 23."),
    ({"periodic_max_workers": 271}, {"periodic_max_workers": 272}, Cause.ACTIONS_CROWDED_OUT,
     "[conductor]periodic_max_workers to at most 94."),
    ({"memory_mib": 154}, {"memory_mib": 153}, Cause.MEMORY, "[conductor]workers_pool_size to at most 294."),
    ({"memory_mib": 155}, {"memory_mib": 155, "nodes": 140}, Cause.MEMORY,
     "[conductor]workers_pool_size to at most 296."),
    ({"memory_mib": 224, "api_threads": (12, 12, 12)}, {"memory_mib": 224, "api_threads": (24, 24, 24)}, Cause.MEMORY,
     "[conductor]workers_pool_size to at most 270."),
    ({"memory_mib": 121, "workers_pool_size": 24}, {"memory_mib": 120, "workers_pool_size": 24}, Cause.MEMORY,
     "[redfish]connection_cache_size to at most 83."),
    ({"memory_mib": 154}, {"memory_mib": 120}, Cause.MEMORY,
     "[conductor]workers_pool_size to at most 24 and [redfish]connection_cache_size to at most 83."),
    ({"memory_mib": 154}, {"memory_mib": 110}, Cause.MEMORY, "to at least 154."),
    ({"open_files": 1184}, {"open_files": 1183}, Cause.OPEN_FILES, "ulimit -Hn) to at least 1184."),
    ({"open_files": 2384, "nodes": 1300, "sync_power_state_interval": 0},
     {"open_files": 2383, "nodes": 1300, "sync_power_state_interval": 0}, Cause.OPEN_FILES,
     "[redfish]connection_cache_size to at most 999."),
    ({"max_pool_size": 3, "workers_pool_size": 292}, {"max_pool_size": 3, "workers_pool_size": 293}, Cause.DATABASE,
     "[database]max_pool_size to at least 4."),
    ({"heartbeat_timeout": 50}, {"heartbeat_timeout": 49}, Cause.HEARTBEAT,
     "[conductor]heartbeat_timeout to at least 50."),
    ({"heartbeat_interval": 20}, {"heartbeat_interval": 21}, Cause.HEARTBEAT,
     "[conductor]heartbeat_timeout to at least 63."),
    ({"synchronous_call_timeout": 25}, {"synchronous_call_timeout": 26}, Cause.CLIENTS_GIVE_UP,
     "[conductor]synchronous_call_timeout to at most 25."),
    ({"rpc_timeout": 30}, {"rpc_timeout": 29}, Cause.RPC_GIVES_UP, "[json_rpc]timeout to at least 30."),
]  # fmt: skip


@pytest.mark.parametrize(("healthy", "over", "cause", "wanted"), BOUNDS, ids=str)
def test_a_judgement_is_silent_up_to_its_bound_and_again_once_its_advice_is_followed(
    normal: Setup, healthy: dict[str, Any], over: dict[str, Any], cause: Cause, wanted: str
):
    assert judge(replace(normal, **healthy)) == []
    setup = replace(normal, **over)
    advice = judge(setup)
    assert [one.cause for one in advice] == [cause]
    assert str(advice[0]).endswith(f"{wanted.rstrip('.')}. ({cause})")
    assert judge(followed(setup, advice)) == []


def test_the_arithmetic_is_in_the_sentence(normal: Setup):
    assert str(judge(replace(normal, nodes=300))[0]) == (
        "The power sync has 8 workers x 60 s = 480 s for its visits in each interval; 300 healthy nodes need 300 x 0.5 "
        "s = 150 s, and a dead BMC holds a worker for poll_timeout = 30 s: at most 11 dead BMCs can be borne, and 15 "
        "(5% of the nodes) must be expected. Set [conductor]sync_power_state_workers to at least 10 and "
        "[conductor]periodic_max_workers to at least 10. (sync-stalls)"
    )


setups = st.builds(
    Setup,
    workers_pool_size=st.integers(3, 2000),
    reserved_workers_pool_percentage=st.integers(0, 50),
    sync_power_state_workers=st.integers(1, 1000),
    periodic_max_workers=st.integers(1, 1000),
    sensor_workers=st.integers(1, 1000),
    sync_power_state_interval=st.integers(0, 600),
    poll_engine=st.sampled_from(["coroutines", "threads"]),
    poll_concurrency=st.integers(1, 20000),
    poll_timeout=st.integers(1, 600),
    synchronous_call_timeout=st.integers(1, 600),
    heartbeat_interval=st.integers(1, 600),
    heartbeat_timeout=st.integers(1, 600),
    rpc_threads=st.integers(2, 200),
    rpc_timeout=st.integers(1, 600),
    max_pool_size=st.integers(1, 500),
    pool_timeout=st.integers(1, 60),
    statement_timeout=st.integers(1, 60),
    connection_cache_size=st.integers(1, 20000),
    nodes=st.integers(0, 20000),
    api_threads=st.lists(st.integers(2, 100), max_size=8).map(tuple),
    connections=st.just(1000),
    memory_mib=st.integers(16, 8192),
    open_files=st.integers(256, 70000),
    processors=st.floats(0.05, 64),
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(setups)
def test_following_all_advice_comes_to_an_end(setup: Setup):
    for _ in range(ROUNDS):
        advice = judge(setup)
        if not advice:
            return
        setup = followed(setup, advice)
    raise AssertionError(f"There is always more advice: {[str(one) for one in advice]}")


def test_every_cause_is_documented():
    told = (Path(__file__).parents[3] / "docs/advice.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)` \|", told, re.MULTILINE) == list(Cause)
