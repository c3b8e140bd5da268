"""One subject in a process of its own: it loads, and then runs a pass for every request.

``python -m core.benchmark.worker SUBJECT SAFETENSORS ONNX THREADS``; requests on standard input and replies on
standard output, one JSON document per line:

- ``{"clip": FILE.npy, "out": FILE.npy}``: use these waveforms from now on, and run one pass, whose probabilities go to ``out``;
- ``{"pass": true}``: one pass, timed;
- ``{"stages": FILE.flac}``: time the stages of one clip, with the recording to decode.
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
    """The peak of this process's resident memory (Linux' VmHWM); None on other systems."""
    try:
        kilobytes = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(kilobytes[1]) if kilobytes else None


def end_with_parent() -> None:
    """On Linux, end with the parent process: a stopped process does not notice that its input has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def serve(arguments: list[str]) -> None:
    """Load the subject, and reply to requests until standard input ends."""
    end_with_parent()
    name, *files, threads = arguments
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what packages print is not a reply

    def reply(document: dict[str, Any]) -> None:
        replies.write(json.dumps(document) + "\n")
        replies.flush()

    import torch

    from core.benchmark.subjects import SUBJECTS, Files

    torch.set_num_threads(int(threads))
    started = time.perf_counter()
    subject = SUBJECTS[name].load(Files(Path(files[0]), Path(files[1])), int(threads))
    reply({"load_s": time.perf_counter() - started, "peak_bytes": peak_bytes()})
    waveforms = np.zeros((1, 0), np.float32)
    for line in sys.stdin:
        request = json.loads(line)
        if "stages" in request:
            reply(subject.stages(Path(request["stages"]), waveforms) if subject.stages else {})
            continue
        if "clip" in request:
            waveforms = np.load(request["clip"])
        started = time.perf_counter()
        probabilities = subject.run(waveforms)
        taken = time.perf_counter() - started
        if "out" in request:
            np.save(request["out"], probabilities)
        reply({"ms": 1e3 * taken, "peak_bytes": peak_bytes()})


if __name__ == "__main__":
    serve(sys.argv[1:])
