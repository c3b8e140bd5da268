"""The timed processes: started one by one, stopped while another one runs, ended together.

Stopped (SIGSTOP), because waiting threads may spin: OpenMP's do for a while by default and forever under ``OMP_WAIT_POLICY=active``, and
so do other thread pools. Eight subjects with spinning threads leave nothing of two cores for the one that is timed.
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

_STOP, _CONTINUE = getattr(signal, "SIGSTOP", None), getattr(signal, "SIGCONT", None)  # Windows has neither

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "PANNSCOPE_THREADS",
)


class WorkerError(ModelError):
    """A subject could not be loaded, or ended unexpectedly."""


def environment(ours: bool, threads: int) -> dict[str, str]:
    """The environment of a worker: the number of threads, and for Pannscope's own engines its policy for waiting threads."""
    variables = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    variables["PYTHONPATH"] = os.pathsep.join([str(_ROOT), variables.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )
    if ours:
        variables.setdefault(VARIABLE, "passive")
    else:
        variables.pop(VARIABLE, None)  # other packages run at their own defaults
    return variables


class Workers:
    """One subject, loaded in one process or several that run at the same time; stopped except during a request."""

    def __init__(self, name: str, files: Files, threads: int, processes: int = 1) -> None:
        self._name = name
        self._processes: list[subprocess.Popen[str]] = []
        self.load_s = 0.0
        self.peak_bytes: int | None = None
        words = [sys.executable, "-m", "core.benchmark.worker", name]
        words += [str(files.safetensors), str(files.onnx), str(threads)]
        inherited = environment(SUBJECTS[name].ours, threads)
        # A file, not a pipe: a process blocks once the buffer of a pipe that nobody reads is full.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        try:
            for started in range(processes):
                self._check_room(processes - started)
                process = subprocess.Popen(words, env=inherited, text=True, stderr=self._errors, **pipes)
                self._processes.append(process)
                loaded = self._read(process)  # waits until it has loaded
                self.load_s, self.peak_bytes = loaded["load_s"], loaded["peak_bytes"]
                self._signal(_STOP, process)
        except BaseException:
            self.end()
            raise

    def request(self, document: dict[str, Any], first_alone: bool = False) -> tuple[float, dict[str, Any]]:
        """Send every process the same request; returns the milliseconds until the last is done, and the first one's reply.

        A single process measures its own time, which excludes the communication.
        """
        active = self._processes[:1] if first_alone else self._processes
        for process in active:
            self._signal(_CONTINUE, process)
        started = time.perf_counter()
        for process in active:
            _send(process, document)
        replies = [self._read(process) for process in active]
        taken = 1e3 * (time.perf_counter() - started)
        for process in active:
            self._signal(_STOP, process)
        peaks = [reply["peak_bytes"] for reply in replies if reply.get("peak_bytes") is not None]
        self.peak_bytes = max(peaks, default=self.peak_bytes)
        return replies[0].get("ms", taken) if len(active) == 1 else taken, replies[0]

    def end(self) -> None:
        """End the processes and wait until they have ended."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes.clear()
        self._errors.close()

    def _check_room(self, more: int) -> None:
        free = usable_memory()
        if self._processes and free is not None and self.peak_bytes and free < more * self.peak_bytes:
            raise WorkerError(
                f"{free / 2**20:.0f} MB of memory are free, and {more} more of its processes need "
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
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:] or [
                f"it ended with code {process.returncode}"
            ]
            raise WorkerError(last[0])
        reply: dict[str, Any] = json.loads(line)
        return reply


def _send(process: subprocess.Popen[str], document: dict[str, Any]) -> None:
    pipe = _pipe(process.stdin)
    try:
        pipe.write(json.dumps(document) + "\n")
        pipe.flush()
    except BrokenPipeError:
        pass  # the following read reports the error


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # every worker has both
    return pipe


def start(
    names: Sequence[str], files: Files, threads: int, processes: int
) -> tuple[dict[str, Workers], dict[str, str]]:
    """Load subjects one after another; returns those that loaded, and why the others did not."""
    loaded: dict[str, Workers] = {}
    failed: dict[str, str] = {}
    try:
        for name in names:
            try:
                loaded[name] = Workers(name, files, threads, processes)
            except WorkerError as error:
                failed[name] = str(error)
    except BaseException:
        for workers in loaded.values():
            workers.end()
        raise
    return loaded, failed
