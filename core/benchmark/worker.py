"""One subject in a process of its own: it loads, and then does a pass whenever it is told to.

``python -m core.benchmark.worker SUBJECT SAFETENSORS PTH ONNX THREADS``; on standard input a JSON document a line, the answers on
standard output likewise:

- ``{"hear": FILE.npy, "out": FILE.npy}``: take these waveforms from now on, and do one pass that does not count;
- ``{"pass": true}``: one pass, timed;
- ``{"stages": FILE.flac}``: where the time of one clip goes, with the recording to decode.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)


def peak_bytes() -> int | None:
    """The most resident memory this process has had (Linux' VmHWM); None where a system does not say."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(found[1]) if found else None


def end_with_parent() -> None:
    """A stopped process does not see its input end; on Linux it can be ended with the one that started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def serve(arguments: list[str]) -> None:
    """Load what the arguments name, and answer until standard input ends."""
    end_with_parent()
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
    subject = SUBJECTS[name].load(Files(*map(Path, files)), int(threads))
    answer({"load_s": time.perf_counter() - started, "peak_bytes": peak_bytes()})
    waveforms = np.zeros((1, 0), np.float32)
    for line in sys.stdin:
        asked = json.loads(line)
        if "stages" in asked:
            answer(subject.stages(Path(asked["stages"]), waveforms) if subject.stages else {})
            continue
        if "hear" in asked:
            waveforms = np.load(asked["hear"])
        started = time.perf_counter()
        probabilities = subject.run(waveforms)
        taken = time.perf_counter() - started
        if "out" in asked:
            np.save(asked["out"], probabilities)
        answer({"ms": 1e3 * taken, "peak_bytes": peak_bytes()})


if __name__ == "__main__":
    serve(sys.argv[1:])
