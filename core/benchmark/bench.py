"""The benchmark itself: every subject in a process of its own, one pass of each in turn.

Turn about, because a machine is not the same for an hour; in processes of their own, because each has its own threads and its own peak
of memory, and sleeps while another one works.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.audio import SAMPLE_RATE
from core.benchmark.host import host
from core.benchmark.subjects import REFERENCE, SUBJECTS, Files, Waveforms, available
from core.benchmark.weights import prepare
from core.errors import ModelError
from core.profiling.latency import Latency
from core.synthesis import EXAMPLES, synthesise

_ROOT = Path(__file__).resolve().parents[2]

MAX_SECONDS = 600


@dataclass(frozen=True)
class Bench:
    """What is to be timed.

    Attributes
    ----------
    models : names of the manifest, or a name with a ratio: ``cnn14:0.25``.
    engines : names of ``SUBJECTS``; those whose packages are missing are left out and named.
    seconds, batches, threads : every combination is timed.
    repeats : passes that count; one before them does not.
    stages : time front end and layers as well, on the first length.
    """

    models: tuple[str, ...] = ("cnn14", "epanns")
    engines: tuple[str, ...] = tuple(SUBJECTS)
    seconds: tuple[float, ...] = (10.0,)
    batches: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (1,)
    repeats: int = 9
    stages: bool = False

    def __post_init__(self) -> None:
        for engine in self.engines:
            if engine not in SUBJECTS:
                raise ModelError(f"Unknown engine {engine!r}; there are {', '.join(SUBJECTS)}.")
        if not all(0.31 <= seconds <= MAX_SECONDS for seconds in self.seconds):
            raise ModelError(f"A clip is 0.31 to {MAX_SECONDS} s long; got {self.seconds}.")
        if min((*self.batches, *self.threads, self.repeats)) < 1:
            raise ModelError("Batches, threads and repeats are whole numbers from 1 on.")


def bench(what: Bench, on_progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run it: {"host", "settings", "left_out", "weights", "rows"}, plain JSON. A row is one engine, model, length, batch and threads."""
    engines = [name for name in what.engines if available(name)]
    rows: list[dict[str, Any]] = []
    weights: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="pannscope-bench-") as folder:
        for model in what.models:
            on_progress(f"{model}: preparing")
            files, weights[model] = prepare(model, Path(folder))
            for threads in what.threads:
                rows += _measured(what, model, files, engines, threads, Path(folder), on_progress)
    return {
        "host": host(),
        "settings": asdict(what),
        "left_out": [name for name in what.engines if name not in engines],
        "weights": weights,
        "rows": rows,
    }


def clips(seconds: float, batch: int) -> Waveforms:
    """Different pieces of the synthesised examples, (batch, samples) float32 at 32 kHz."""
    medley = np.concatenate([synthesise(example.key) for example in EXAMPLES])
    samples = round(seconds * SAMPLE_RATE)
    return np.stack([np.resize(np.roll(medley, -7 * SAMPLE_RATE * row), samples) for row in range(batch)])


def _measured(
    what: Bench,
    model: str,
    files: Files,
    engines: Sequence[str],
    threads: int,
    folder: Path,
    on_progress: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    for batch in what.batches:
        for seconds in what.seconds:
            on_progress(f"{model}: {seconds:g} s, batch of {batch}, {threads} threads")
            clip = folder / "clip.npy"
            np.save(clip, clips(seconds, batch))
            yield from _turns(what, model, files, engines, threads, seconds, batch, clip)


def _turns(
    what: Bench,
    model: str,
    files: Files,
    engines: Sequence[str],
    threads: int,
    seconds: float,
    batch: int,
    clip: Path,
) -> list[dict[str, Any]]:
    times: dict[str, list[float]] = {name: [] for name in engines}
    said: dict[str, dict[str, Any]] = {}
    answers: dict[str, Waveforms] = {}
    with _workers(engines, files, threads) as workers:
        for name, worker in workers.items():
            said[name] = {"load_s": worker.load_s}
            out = clip.with_name("answer.npy")
            worker.ask({"clip": str(clip), "out": str(out)})
            answers[name] = np.load(out)
        for _ in range(what.repeats):
            for name, worker in workers.items():
                passed = worker.ask({"clip": str(clip)})
                times[name].append(passed["ms"])
                said[name]["peak_bytes"] = passed["peak_bytes"]
        if what.stages and seconds == what.seconds[0]:
            for name, worker in workers.items():
                said[name]["stages_ms"] = worker.ask({"stages": str(clip)})
    first = REFERENCE if REFERENCE in engines else engines[0]
    taken = {name: Latency.of(found) for name, found in times.items()}
    return [
        {
            "engine": name,
            "model": model,
            "seconds": seconds,
            "batch": batch,
            "threads": threads,
            **taken[name].document(),
            "compared_with": first,
            "ratio_to_reference": taken[first].median_ms / taken[name].median_ms,
            "real_time_factor": 1e3 * seconds * batch / taken[name].median_ms,
            "max_abs_difference": float(np.abs(answers[name] - answers[first]).max()),
            "peak_rss_mb": None if said[name]["peak_bytes"] is None else said[name]["peak_bytes"] / 2**20,
            "load_s": said[name]["load_s"],
            "stages_ms": said[name].get("stages_ms", {}),
        }
        for name in engines
    ]


class _Worker:
    """The other end of ``core.benchmark.worker``."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self._name, self._process = name, process
        self.load_s: float = self._read()["load_s"]

    def ask(self, document: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(document) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what is read says what happened
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, complaint = self._process.communicate()
            last = (complaint or "").strip().splitlines()[-1:] or ["it ended without a word"]
            raise ModelError(f"{self._name} cannot be timed here: {last[0]}. Leave it out with --engines.")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def _workers(names: Sequence[str], files: Files, threads: int) -> Iterator[dict[str, _Worker]]:
    """Start them one by one, so that none loads while another does; end them all."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "PANNSCOPE_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    paths = [str(files.safetensors), str(files.pth), str(files.onnx)]
    processes: list[subprocess.Popen[str]] = []
    workers: dict[str, _Worker] = {}
    try:
        for name in names:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "core.benchmark.worker", name, *paths, str(threads)],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            workers[name] = _Worker(name, processes[-1])  # which waits until it has loaded
        yield workers
    finally:
        for process in processes:
            process.kill()
            process.communicate()
