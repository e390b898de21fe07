"""The limits of control groups, in trees as systemd, Docker and Kubernetes make them."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from ironic_lite.executors import surroundings

MIB = 1024**2
V1_UNLIMITED = 9223372036854771712
MEMORY_V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory"
CPU_V1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
HYBRID = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"


class Tree:
    """A machine of 8 GiB."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\n")

    def write(self, path: str, text: object) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def within(self, *mounts: str, groups: str) -> None:
        self.write("proc/self/mountinfo", "\n".join(mounts))
        self.write("proc/self/cgroup", groups)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_without_control_groups_the_machine_is_the_limit(tree: Tree):
    assert surroundings.memory_mib(tree.root) == 8192
    assert surroundings.processors(tree.root) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("own", "slice_", "wanted"),
    [(256 * MIB, "max", 256), ("max", 512 * MIB, 512), (256 * MIB, 128 * MIB, 128), ("max", "max", 8192),
     (16384 * MIB, "max", 8192)],
)  # fmt: skip
def test_version_2_nested(tree: Tree, own: object, slice_: object, wanted: int):
    tree.within(V2, groups="0::/system.slice/ironic-lite.service")
    tree.write("/sys/fs/cgroup/system.slice/memory.max", slice_)
    tree.write("/sys/fs/cgroup/system.slice/ironic-lite.service/memory.max", own)
    assert surroundings.memory_mib(tree.root) == wanted


@pytest.mark.parametrize(
    ("own", "parent", "wanted"), [(256 * MIB, V1_UNLIMITED, 256), (V1_UNLIMITED, 512 * MIB, 512),
                                  (V1_UNLIMITED, V1_UNLIMITED, 8192)],
)  # fmt: skip
def test_version_1_nested_beside_a_version_2_that_limits_nothing(tree: Tree, own: int, parent: int, wanted: int):
    tree.within(CPU_V1, MEMORY_V1, HYBRID, groups="4:memory:/pods/one\n2:cpu,cpuacct:/pods/other\n0::/")
    tree.write("/sys/fs/cgroup/memory/pods/memory.limit_in_bytes", parent)
    tree.write("/sys/fs/cgroup/memory/pods/one/memory.limit_in_bytes", own)
    tree.write("/sys/fs/cgroup/memory/pods/other/memory.limit_in_bytes", 1)
    assert surroundings.memory_mib(tree.root) == wanted


def test_in_a_container_the_path_is_the_hosts_and_the_mount_begins_below_it(tree: Tree):
    mount = MEMORY_V1.replace(" / /sys", " /docker/abc /sys")
    tree.within(mount, groups="4:memory:/docker/abc/inner")
    tree.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", 300 * MIB)
    tree.write("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", 200 * MIB)
    assert surroundings.memory_mib(tree.root) == 200
    tree.within(mount, groups="4:memory:/seen/from/elsewhere")
    assert surroundings.memory_mib(tree.root) == 300


@pytest.mark.parametrize(("quota", "wanted"), [("50000 100000", 0.5), ("max 100000", None)])
def test_processors_of_version_2(tree: Tree, quota: str, wanted: float | None):
    tree.within(V2, groups="0::/pod")
    tree.write("/sys/fs/cgroup/pod/cpu.max", quota)
    assert surroundings.processors(tree.root) == (wanted or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("quota", "wanted"), [(25000, 0.25), (-1, None)])
def test_processors_of_version_1(tree: Tree, quota: int, wanted: float | None):
    tree.within(CPU_V1, groups="2:cpu,cpuacct:/pod")
    tree.write("/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", quota)
    tree.write("/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us", 100000)
    assert surroundings.processors(tree.root) == (wanted or len(os.sched_getaffinity(0)))


def test_this_machine_is_understood():
    assert 64 <= surroundings.memory_mib() < 2**24
    assert 0 < surroundings.processors() <= len(os.sched_getaffinity(0))


def test_the_soft_limit_of_open_files_becomes_the_hard_one():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        assert surroundings.open_files() == min(soft, 512)
        surroundings.allow_open_files()
        assert surroundings.open_files() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
