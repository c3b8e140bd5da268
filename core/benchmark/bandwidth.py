"""The rate at which this machine reads memory, which bounds a network whose weights do not fit into a cache.

A program of its own (``python bandwidth.py THREADS…``), so that its threads and its buffer are gone before anything else is timed; it
needs numpy alone. Each thread reads its part of one buffer, twice as large as the last-level cache where that is known, and sums
products: one multiplication and addition per 4 bytes read, far less than a core can do in that time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_MIN_BYTES, _MAX_BYTES = 256 << 20, 1 << 30
_PASSES = 5
_CACHE = Path("/sys/devices/system/cpu/cpu0/cache")


def read_bandwidth(threads: Sequence[int], memory_free: int | None = None) -> dict[str, Any]:
    """Measure in a process of its own: {"buffer_mb", "gb_per_s": {"1": …, "2": …}}, 1 GB being 10^9 bytes; medians of 5 passes.

    ``memory_free`` in bytes bounds the buffer to a quarter of it. Empty where the measurement fails.
    """
    size = min(
        max(_MIN_BYTES, 2 * _last_level_cache()), _MAX_BYTES, *([memory_free // 4] if memory_free else [])
    )
    words = [sys.executable, __file__, str(size), *map(str, threads)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    finished = subprocess.run(words, env=environment, capture_output=True, text=True)
    return {} if finished.returncode else json.loads(finished.stdout)


def _last_level_cache() -> int:
    """Bytes, from Linux' sysfs; 0 where it has no such entry."""
    sizes = [0]
    for file in _CACHE.glob("index*/size"):
        kilobytes = re.fullmatch(r"(\d+)K", file.read_text().strip())
        sizes.append(1024 * int(kilobytes[1]) if kilobytes else 0)
    return max(sizes)


def _measure(buffer: npt.NDArray[np.float32], threads: int) -> float:
    parts = np.array_split(buffer, threads)
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(1 + _PASSES):
            started = time.perf_counter()
            list(pool.map(lambda part: np.dot(part, part), parts))
            times.append(time.perf_counter() - started)
    return buffer.nbytes / float(np.median(times[1:])) / 1e9


if __name__ == "__main__":
    filled = np.ones(int(sys.argv[1]) // 4, np.float32)
    rates = {word: round(_measure(filled, int(word)), 2) for word in sys.argv[2:]}
    json.dump({"buffer_mb": filled.nbytes >> 20, "gb_per_s": rates}, sys.stdout)
