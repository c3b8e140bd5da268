"""The benchmark: every subject in a process of its own, one pass of each in turn.

Alternating, because a machine's speed changes within minutes; in separate processes, because each has its own threads and its own peak
of memory, and is stopped while another one runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.benchmark.clips import clips, write_recording
from core.benchmark.host import host
from core.benchmark.processes import WorkerError, Workers, start
from core.benchmark.subjects import REFERENCE, SUBJECTS, Files, available
from core.benchmark.weights import prepare
from core.errors import ModelError
from core.profiling import Latency

MAX_SECONDS = 600

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """What is to be timed.

    Attributes
    ----------
    models : names of the manifest, checkpoint files, or a name with a ratio: ``cnn14:0.25``.
    engines : names of ``SUBJECTS``; those whose packages are missing or that cannot run are skipped, with the reason.
    seconds, batches, threads, processes : every combination is timed. Several processes, each with this number of threads and a batch
        of its own, run at the same time.
    repeats : timed passes, after one for warming up.
    stages : also time the stages and layers of one clip, with the smallest of ``batches``.
    """

    models: tuple[str, ...] = ("cnn14", "epanns")
    engines: tuple[str, ...] = tuple(SUBJECTS)
    seconds: tuple[float, ...] = (10.0,)
    batches: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (1,)
    processes: tuple[int, ...] = (1,)
    repeats: int = 9
    stages: bool = False

    def __post_init__(self) -> None:
        for engine in self.engines:
            if engine not in SUBJECTS:
                raise ModelError(f"Unknown engine {engine!r}; known are {', '.join(SUBJECTS)}.")
        if not all(0.31 <= seconds <= MAX_SECONDS for seconds in self.seconds):
            raise ModelError(f"A clip is 0.31 to {MAX_SECONDS} s long; got {self.seconds}.")
        if min((*self.batches, *self.threads, *self.processes, self.repeats)) < 1:
            raise ModelError("Batches, threads, processes and repeats are whole numbers, at least 1.")


@dataclass(frozen=True)
class _Case:
    """One network and one number of threads and processes; all lengths and batches are timed in the same processes."""

    model: str
    files: Files
    threads: int
    processes: int
    folder: Path


def bench(what: Bench, on_progress: Progress = lambda _: None) -> dict[str, Any]:
    """Run it: {"host", "settings", "left_out", "weights", "rows"}, plain JSON. A row is one engine, model, length, batch, threads, processes.

    Raises ``ModelError`` where nothing could be timed.
    """
    left_out = {name: "not installed" for name in what.engines if not available(name)}
    engines = [name for name in what.engines if name not in left_out]
    rows: list[dict[str, Any]] = []
    weights: dict[str, str] = {}
    used = sorted({threads * processes for threads in what.threads for processes in what.processes})
    machine = host(used)  # before anything else runs, so that the load average is not ours
    with _one_thread(), tempfile.TemporaryDirectory(prefix="pannscope-bench-") as folder:
        for model in what.models:
            on_progress(f"{model}: preparing")
            files, weights[model] = prepare(model, Path(folder))
            for threads in what.threads:
                for processes in what.processes:
                    case = _Case(model, files, threads, processes, Path(folder))
                    rows += _measured(what, case, engines, left_out, on_progress)
    if not rows:
        raise ModelError(
            "Nothing could be timed: " + "; ".join(f"{name}: {why}" for name, why in left_out.items())
        )
    return {
        "host": machine,
        "settings": asdict(what),
        "left_out": left_out,
        "weights": weights,
        "rows": rows,
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """This process only prepares and waits: its own threads could spin beside the timed ones (``OMP_WAIT_POLICY=active``)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measured(
    what: Bench, case: _Case, engines: Sequence[str], left_out: dict[str, str], on_progress: Progress
) -> Iterator[dict[str, Any]]:
    label = f"{case.model}, {case.threads} threads" + (f" x {case.processes}" if case.processes > 1 else "")
    on_progress(f"{label}: loading")
    workers, failed = start(engines, case.files, case.threads, case.processes)
    try:
        # Ascending, since a process's memory peak is of all that it has done.
        for seconds in sorted(what.seconds):
            for batch in sorted(what.batches):
                on_progress(f"{label}: {seconds:g} s, batch of {batch}")
                yield from _rounds(what, case, workers, failed, seconds=seconds, batch=batch)
    finally:
        for subject in workers.values():
            subject.end()
        for name, why in failed.items():
            left_out[f"{name} ({label})"] = why


def _rounds(
    what: Bench,
    case: _Case,
    workers: dict[str, Workers],
    failed: dict[str, str],
    *,
    seconds: float,
    batch: int,
) -> list[dict[str, Any]]:
    """A round for warming up, whose outputs are compared, the timed rounds, and the stages. A subject that fails is dropped."""
    clip, out = case.folder / "clip.npy", case.folder / "probabilities.npy"
    np.save(clip, clips(seconds, batch, case.files.rate))
    times: dict[str, list[float]] = {name: [] for name in workers}
    outputs: dict[str, np.ndarray] = {}
    stages: dict[str, dict[str, Any]] = {}

    def request(
        name: str, document: dict[str, Any], first_alone: bool = False
    ) -> tuple[float, dict[str, Any]]:
        try:
            return workers[name].request(document, first_alone)
        except WorkerError as error:
            failed[name] = f"{error} ({seconds:g} s, batch of {batch})"
            workers.pop(name).end()
            return 0.0, {}

    for name in tuple(workers):
        request(name, {"clip": str(clip), "out": str(out)}, first_alone=True)
        if name in workers:
            outputs[name] = np.load(out)
            if case.processes > 1:
                request(name, {"clip": str(clip)})
    for _ in range(what.repeats):
        for name in tuple(workers):
            taken, _ = request(name, {"pass": True})
            times[name].append(taken)
    if what.stages and batch == min(what.batches):
        recording = case.folder / "clip.flac"
        write_recording(recording, seconds)
        for name in tuple(workers):
            stages[name] = request(name, {"stages": str(recording)}, first_alone=True)[1]
    return [
        _row(case, name, workers[name], seconds=seconds, batch=batch, times=times, outputs=outputs)
        | _stages(stages, name)
        for name in workers
    ]


def _row(
    case: _Case,
    name: str,
    worker: Workers,
    *,
    seconds: float,
    batch: int,
    times: dict[str, list[float]],
    outputs: dict[str, np.ndarray],
) -> dict[str, Any]:
    first = REFERENCE if REFERENCE in outputs else next(iter(outputs))
    latency = Latency.of(times[name])
    return {
        "engine": name,
        "model": case.model,
        "seconds": seconds,
        "batch": batch,
        "threads": case.threads,
        "processes": case.processes,
        **latency.document(),
        "compared_with": first,
        "ratio_to_reference": Latency.of(times[first]).median_ms / latency.median_ms,
        "real_time_factor": 1e3 * seconds * batch * case.processes / latency.median_ms,
        "max_abs_difference": float(np.abs(outputs[name] - outputs[first]).max()),
        "peak_rss_mb": None if worker.peak_bytes is None else worker.peak_bytes / 2**20,
        "load_s": worker.load_s,
    }


def _stages(measured: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    return {part: measured.get(name, {}).get(part, {}) for part in ("stages_ms", "layers_ms")}
