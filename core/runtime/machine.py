"""Cores and memory that this process may use, with the limits of a container.

A container with a quota of two cores on a machine of sixty-four sees all sixty-four, and sixty-four threads that share two cores wait
for each other most of the time. Linux states the limits in its control groups, version 2 (one tree) or 1 (one tree per resource):
https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/memory.html. On other systems there are no such limits.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from core import settings

ROOT = Path("/")

_NO_LIMIT = 1 << 60
"""Version 1 states "no limit" as the largest number of pages, which is more than any machine has."""


def usable_cpus(root: Path = ROOT) -> int:
    """Cores this process may run on at once: its affinity, or the quota of its control group, rounded up, if that is fewer."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas(root))]))


def usable_memory(root: Path = ROOT) -> int | None:
    """Bytes this process can still allocate: the system's available memory, or the rest of its control group's limit; None if unknown."""
    available = [limit - used for limit, used in _memory_limits(root)]
    available += [1024 * size for size in _meminfo(root, "MemAvailable:")]
    return max(0, min(available)) if available else None


def total_memory(root: Path = ROOT) -> int | None:
    """Bytes this process could ever allocate: the machine's memory, or its control group's limit if that is less; None if unknown."""
    sizes = [limit for limit, _used in _memory_limits(root)]
    sizes += [1024 * size for size in _meminfo(root, "MemTotal:")]
    return min(sizes, default=None)


def threads() -> int:
    """Threads an engine runs on: PANNSCOPE_THREADS, else as many as torch uses (OMP_NUM_THREADS), at most the usable cores."""
    import torch  # here, since the server needs to know its memory seconds before it has loaded torch

    return settings.threads() or min(torch.get_num_threads(), usable_cpus())


def processor(root: Path = ROOT) -> str:
    """The processor's name, as the system states it."""
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _quotas(root: Path) -> Iterator[float]:
    """CPU quotas, in cores, of this process's control groups and of those around them."""
    for folder in _groups(root, "cpu"):
        words = (_read(folder / "cpu.max") or "").split()  # version 2: "max 100000" or "200000 100000"
        if len(words) == 2 and words[0] != "max":
            yield int(words[0]) / int(words[1])
        quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota and period and quota > 0:  # version 1: -1 is no limit
            yield quota / period


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, used) in bytes, of this process's control groups and of those around them; file pages that can be dropped do not count."""
    names = (
        ("memory.max", "memory.current", "inactive_file "),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
    )
    for folder in _groups(root, "memory"):
        for limit_file, used_file, droppable in names:
            limit, used = _number(folder / limit_file), _number(folder / used_file)
            if limit is None or used is None or limit >= _NO_LIMIT:
                continue
            for line in (_read(folder / "memory.stat") or "").splitlines():
                if line.startswith(droppable):
                    used -= int(line.split()[1])
            yield limit, max(0, used)


def _meminfo(root: Path, name: str) -> list[int]:
    """The values, in KiB, of a line of /proc/meminfo: one, or none where there is no such line."""
    lines = (_read(root / "proc/meminfo") or "").splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith(name)]


def _groups(root: Path, resource: str) -> Iterator[Path]:
    """Folders of the control groups that hold this process, from its own up to the root, for ``cpu`` or ``memory``."""
    mounted = root / "sys/fs/cgroup"
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            top = mounted
        elif resource in controllers.split(","):
            top = mounted / resource
        else:
            continue
        folder = top / path.strip("/")
        # Inside a container the path is often the host's, and the group itself is mounted at the top.
        while folder != top:
            yield folder
            folder = folder.parent
        yield top


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text and text.lstrip("-").isdecimal() else None
