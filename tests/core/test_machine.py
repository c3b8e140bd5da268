"""What a container's limits leave: cores, memory, threads, and the profile that goes by them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from core.errors import SettingsError
from core.models.cnn import Cnn14Config
from core.runtime.machine import threads as threads_used
from core.runtime.machine import usable_cpus, usable_memory
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
    files(root, proc__meminfo="MemTotal: 100 kB\nMemAvailable:  10 kB\n")
    assert usable_memory(root) == 10_240


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
    monkeypatch.setattr("core.runtime.profiles.usable_memory", lambda: 2**30)
    assert choose_profile(config, "fast")[0].name == "fast"
    monkeypatch.setenv("PANNSCOPE_PROFILE", "small")
    assert choose_profile(Cnn14Config((4,) * 12))[0].name == "small"
