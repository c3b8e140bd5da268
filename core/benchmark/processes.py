"""The processes that are timed: started one by one, stopped while it is not their turn, ended together.

Stopped (SIGSTOP), because waiting threads may spin: OpenMP's do for a while by default and for ever under ``OMP_WAIT_POLICY=active``, and
so do other pools. Eight subjects that wait like that leave nothing of two cores for the one whose turn it is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from core.benchmark.subjects import SUBJECTS, Files
from core.errors import ModelError
from core.runtime.machine import usable_memory
from core.runtime.process import VARIABLE

_ROOT = Path(__file__).resolve().parents[2]

_STOP, _GO = getattr(signal, "SIGSTOP", None), getattr(signal, "SIGCONT", None)  # Windows has neither

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "PANNSCOPE_THREADS",
)


class WorkerError(ModelError):
    """A subject could not be loaded or ended in the middle."""


def environment(ours: bool, threads: int) -> dict[str, str]:
    """What a worker inherits: the number of threads, and Pannscope's policy for waiting ones if it is one of its own engines."""
    found = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    found["PYTHONPATH"] = os.pathsep.join([str(_ROOT), found.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    if ours:
        found.setdefault(VARIABLE, "passive")
    else:
        found.pop(VARIABLE, None)  # at its own defaults, whatever was chosen for us
    return found


class Workers:
    """One subject, loaded in one process or several that work at the same time. Stopped unless it is being asked."""

    def __init__(self, name: str, files: Files, threads: int, processes: int = 1) -> None:
        self._name = name
        self._processes: list[subprocess.Popen[str]] = []
        self.load_s = 0.0
        self.peak_bytes: int | None = None
        words = [sys.executable, "-m", "core.benchmark.worker", name]
        words += [str(files.safetensors), str(files.pth), str(files.onnx), str(threads)]
        inherited = environment(SUBJECTS[name].ours, threads)
        # A file, not a pipe, which stops a process once nobody reads what it complains of.
        self._complaints = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        try:
            for started in range(processes):
                self._check_room(processes - started)
                process = subprocess.Popen(words, env=inherited, text=True, stderr=self._complaints, **pipes)
                self._processes.append(process)
                answer = self._read(process)  # which waits until it has loaded
                self.load_s, self.peak_bytes = answer["load_s"], answer["peak_bytes"]
                self._signal(_STOP, process)
        except BaseException:
            self.end()
            raise

    def ask(self, document: dict[str, Any], first_alone: bool = False) -> tuple[float, dict[str, Any]]:
        """Give every process the same task; milliseconds until the last is done, and the first one's answer.

        A single process says itself how long it took, which leaves out the way there and back.
        """
        asked = self._processes[:1] if first_alone else self._processes
        for process in asked:
            self._signal(_GO, process)
        started = time.perf_counter()
        for process in asked:
            _send(process, document)
        answers = [self._read(process) for process in asked]
        taken = 1e3 * (time.perf_counter() - started)
        for process in asked:
            self._signal(_STOP, process)
        peaks = [answer["peak_bytes"] for answer in answers if answer.get("peak_bytes") is not None]
        self.peak_bytes = max(peaks, default=self.peak_bytes)
        return answers[0].get("ms", taken) if len(asked) == 1 else taken, answers[0]

    def end(self) -> None:
        """End the processes and wait for it."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes.clear()
        self._complaints.close()

    def _check_room(self, more: int) -> None:
        free = usable_memory()
        if self._processes and free is not None and self.peak_bytes and free < more * self.peak_bytes:
            raise WorkerError(
                f"{free / 2**20:.0f} MB of memory are free, and {more} more of its processes want "
                f"{more * self.peak_bytes / 2**20:.0f}"
            )

    def _signal(self, kind: signal.Signals | None, process: subprocess.Popen[str]) -> None:
        if kind is not None:
            process.send_signal(kind)

    def _read(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        line = _pipe(process.stdout).readline()
        if not line:
            self._processes.remove(process)
            process.communicate()
            self._complaints.seek(0)
            last = self._complaints.read().strip().splitlines()[-1:] or [
                f"it ended with code {process.returncode}"
            ]
            raise WorkerError(last[0])
        answer: dict[str, Any] = json.loads(line)
        return answer


def _send(process: subprocess.Popen[str], document: dict[str, Any]) -> None:
    pipe = _pipe(process.stdin)
    try:
        pipe.write(json.dumps(document) + "\n")
        pipe.flush()
    except BrokenPipeError:
        pass  # what is read says what happened


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # every worker has both
    return pipe


def start(
    names: Sequence[str], files: Files, threads: int, processes: int
) -> tuple[dict[str, Workers], dict[str, str]]:
    """Load subjects one after another; those that work, and why the others do not."""
    found: dict[str, Workers] = {}
    failed: dict[str, str] = {}
    try:
        for name in names:
            try:
                found[name] = Workers(name, files, threads, processes)
            except WorkerError as error:
                failed[name] = str(error)
    except BaseException:
        for workers in found.values():
            workers.end()
        raise
    return found, failed
