"""What a container's limits leave: cores, memory, threads, and the profile that goes by them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from core.errors import SettingsError
from core.models.cnn import Cnn14Config
from core.runtime.machine import threads as threads_used
from core.runtime.machine import total_memory, usable_cpus, usable_memory
from core.runtime.profiles import PROFILES, choose_profile


def files(root: Path, **contents: str) -> Path:
    """A tree of small files; `__` in a name stands for a slash."""
    for name, text in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_limits_of_version_2(tmp_path):
    root = files(tmp_path, proc__self__cgroup="0::/pod/box\n")
    group = "sys/fs/cgroup/pod"
    files(root, **{f"{group}/box/cpu.max": "max 100000\n", f"{group}/cpu.max": "50000 100000\n"})
    assert usable_cpus(root) == 1  # half a core, from the group around it
    files(
        root,
        **{
            f"{group}/box/memory.max": "1000000\n",
            f"{group}/box/memory.current": "700000\n",
            f"{group}/box/memory.stat": "anon 1\ninactive_file 200000\n",
            f"{group}/memory.max": "max\n",
        },
    )
    assert usable_memory(root) == 500_000
    assert total_memory(root) == 1_000_000
    files(root, proc__meminfo="MemTotal: 100 kB\nMemAvailable:  10 kB\n")
    assert usable_memory(root) == 10_240
    assert total_memory(root) == 102_400


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [(1_000, 1), (100_000, 1), (100_001, 2), (150_000, 2), (200_000, 2), (799_000, 8), (6_400_000, 8)],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_part_of_a_core_counts_as_one(eight_cores, quota, cores, version, tmp_path):
    if version == 2:
        files(tmp_path, proc__self__cgroup="0::/\n", **{"sys/fs/cgroup/cpu.max": f"{quota} 100000\n"})
    else:
        group = "sys/fs/cgroup/cpu/cpu.cfs"
        limits = {f"{group}_quota_us": f"{quota}\n", f"{group}_period_us": "100000\n"}
        files(tmp_path, proc__self__cgroup="1:cpu:/\n", **limits)
    assert usable_cpus(tmp_path) == cores


def test_the_tightest_group_counts(eight_cores, tmp_path):
    group = "sys/fs/cgroup/a"
    files(tmp_path, proc__self__cgroup="0::/a/b\n")
    files(tmp_path, **{f"{group}/b/cpu.max": "400000 100000\n", f"{group}/cpu.max": "300000 100000\n"})
    assert usable_cpus(tmp_path) == 3
    limits = {"b/memory.max": "900", "b/memory.current": "100", "memory.max": "1000", "memory.current": "300"}
    files(tmp_path, **{f"{group}/{name}": text for name, text in limits.items()})
    assert usable_memory(tmp_path) == 700
    files(tmp_path, **{f"{group}/memory.current": "1200"})
    assert usable_memory(tmp_path) == 0  # over the limit
    files(tmp_path, **{f"{group}/memory.stat": "inactive_file 5000\n", f"{group}/b/memory.max": "max"})
    assert usable_memory(tmp_path) == 1000  # all of it can be dropped, and no more than all


def test_without_affinity_the_systems_count_stands(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, cores in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert usable_cpus(tmp_path) == cores


def test_limits_of_version_1(tmp_path):
    root = files(tmp_path, proc__self__cgroup="4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/\n")
    files(
        root,
        **{
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",  # the container's own, mounted at the top
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1500\n",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100\n",
        },
    )
    assert (usable_cpus(root), usable_memory(root)) == (1, 600)


def test_no_limits(tmp_path):
    root = files(tmp_path, proc__self__cgroup="4:memory:/\n3:cpu:/\n")
    files(
        root,
        **{
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1500\n",
        },
    )
    assert usable_memory(root) is None
    assert usable_cpus(root) == len(os.sched_getaffinity(0))
    assert usable_cpus(tmp_path / "nothing") == len(os.sched_getaffinity(0))


def test_threads_can_be_named(monkeypatch):
    monkeypatch.delenv("PANNSCOPE_THREADS", raising=False)
    assert threads_used() == min(torch.get_num_threads(), usable_cpus())
    monkeypatch.setenv("PANNSCOPE_THREADS", "3")
    assert threads_used() == 3
    monkeypatch.setenv("PANNSCOPE_THREADS", "0")
    with pytest.raises(SettingsError, match="PANNSCOPE_THREADS"):
        threads_used()


def test_the_profile_goes_by_memory(monkeypatch):
    monkeypatch.delenv("PANNSCOPE_PROFILE", raising=False)
    config = Cnn14Config()
    # Weights of 4 bytes: C1's as they are, C2 to C10's times 36 / 9, C11's and C12's 3 x 3 a kernel again.
    tiled = 64 * 64 + 64 * 128 + 128**2 + 128 * 256 + 256**2 + 256 * 512 + 512**2 + 512 * 1024 + 1024**2
    deep = 1024 * 2048 + 2048**2
    assert PROFILES["fast"].weight_bytes(config) == 4 * 9 * (64 + 4 * tiled + deep)
    # C7 to C10's times 4 / 3
    late = 256 * 512 + 512**2 + 512 * 1024 + 1024**2
    assert PROFILES["small"].weight_bytes(config) == 4 * 9 * (64 + 4 * (tiled - late) + 4 * late // 3 + deep)
    for free, name in ((8 * 2**30, "fast"), (2**30, "small"), (None, "fast")):
        monkeypatch.setattr("core.runtime.profiles.usable_memory", lambda free=free: free)
        assert choose_profile(config)[0].name == name
    needed = 3 * PROFILES["fast"].weight_bytes(config)
    for free, name in ((needed, "fast"), (needed - 1, "small")):
        monkeypatch.setattr("core.runtime.profiles.usable_memory", lambda free=free: free)
        assert choose_profile(config)[0].name == name
    monkeypatch.setattr("core.runtime.profiles.usable_memory", lambda: 2**30)
    assert choose_profile(config, "fast")[0].name == "fast"
    monkeypatch.setenv("PANNSCOPE_PROFILE", "small")
    assert choose_profile(Cnn14Config((4,) * 12))[0].name == "small"
