"""One subject in a process of its own: it loads, and then does one pass whenever it is told to.

``python -m core.benchmark.worker SUBJECT SAFETENSORS PTH ONNX THREADS``; on standard input a JSON document a line, ``{"clip": FILE.npy,
"out": FILE.npy}`` or ``{"stages": FILE.npy}``; the answers on standard output likewise. Between passes it sleeps.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def peak_bytes() -> int | None:
    """The most resident memory this process has had (Linux' VmHWM); None where a system does not say."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(found[1]) if found else None


def serve(arguments: list[str]) -> None:
    """Load what the arguments name, and answer until standard input ends."""
    name, *files, threads = arguments
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what packages print is no answer

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    import torch

    from core.benchmark.subjects import SUBJECTS, Files

    torch.set_num_threads(int(threads))
    started = time.perf_counter()
    forms = Files(*map(Path, files))
    run = SUBJECTS[name].load(forms, int(threads))
    answer({"load_s": time.perf_counter() - started, "peak_bytes": peak_bytes()})
    for line in sys.stdin:
        asked = json.loads(line)
        if "stages" in asked:
            stages = SUBJECTS[name].stages
            answer(stages(forms, np.load(asked["stages"])) if stages else {})
            continue
        waveforms = np.load(asked["clip"])
        started = time.perf_counter()
        probabilities = run(waveforms)
        taken = time.perf_counter() - started
        if asked.get("out"):
            np.save(asked["out"], probabilities)
        answer({"ms": 1e3 * taken, "peak_bytes": peak_bytes()})


if __name__ == "__main__":
    serve(sys.argv[1:])
