"""The machine and the package versions of a benchmark: times mean nothing without them."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from core.benchmark.bandwidth import read_bandwidth
from core.runtime.machine import processor, usable_cpus, usable_memory
from core.runtime.process import VARIABLE

PACKAGES = (
    "torch",
    "llvmlite",
    "ncnn",
    "onnxruntime",
    "openvino",
    "panns-inference",
    "torchlibrosa",
    "numpy",
)
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd")


def host(bandwidth_threads: Sequence[int] = ()) -> dict[str, Any]:
    """Processor, cores, memory, load and versions, as plain JSON, and the rate at which these numbers of threads read memory.

    Numbers of threads above the usable cores are measured as that many.
    """
    try:
        fields = {
            key.strip(): value.strip()
            for key, _, value in (
                line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines() if line
            )
        }
    except OSError:
        fields = {}
    memory = usable_memory()
    cores = usable_cpus()
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {
        "processor": processor(),
        "instructions": [
            flag for flag in _FLAGS if flag in fields.get("flags", fields.get("Features", "")).split()
        ],
        "cores": cores,
        "memory_free_mb": None if memory is None else round(memory / 2**20),
        "memory_read": read_bandwidth(sorted({min(n, cores) for n in bandwidth_threads}), memory)
        if bandwidth_threads
        else {},
        "load_average": load,
        "system": f"{platform.system()} {platform.release()}",
        "omp_wait_policy": {"ours": os.environ.get(VARIABLE, "passive"), "peers": "their own default"},
        "between_turns": "stopped" if hasattr(signal, "SIGSTOP") else "waiting",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
