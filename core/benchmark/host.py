"""What a benchmark ran on: a figure of time means nothing without it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from core.runtime import usable_cpus, usable_memory

PACKAGES = ("torch", "ncnn", "onnxruntime", "openvino", "panns-inference", "torchlibrosa", "numpy")
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd")


def host() -> dict[str, Any]:
    """Processor, cores, memory, load and versions, as plain JSON."""
    try:
        fields = dict(
            (key.strip(), value.strip())
            for key, _, value in (
                line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines() if line
            )
        )
    except OSError:
        fields = {}
    memory = usable_memory()
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "instructions": [
            flag for flag in _FLAGS if flag in fields.get("flags", fields.get("Features", "")).split()
        ],
        "cores": usable_cpus(),
        "memory_free_mb": None if memory is None else round(memory / 2**20),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()}",
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
