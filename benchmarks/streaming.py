"""Time of a stream's hop beside full passes over 10 s and 1 s, in turn: python benchmarks/streaming.py [--models epanns,cnn14] [--hops 100]

Prints rows of a table in Markdown. Models that are not installed have random weights of their shape, which take as long. Beside the time that
passes there is the processor's, of all threads: where other programs run, the first grows and the second hardly.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.audio import SAMPLE_RATE  # noqa: E402 (after the path is set)
from core.runtime import process  # noqa: E402 (after the path is set)

WINDOW_S, HOP_S = 10.0, 0.25


def main() -> int:
    """Measure every model, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="epanns,cnn14", help="names of the manifest (epanns,cnn14)")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--hops", type=int, default=100)
    arguments = parser.parse_args()
    process.set_passive_wait_policy()
    print("| network | step | fastest, ms | median, ms | processor, fastest, ms | median, ms |")
    print("|---|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models.split(","):
            for row in measured(name, arguments.runtime, arguments.hops, Path(folder)):
                print(row, flush=True)
    return 0


def measured(name: str, runtime: str, hops: int, folder: Path) -> list[str]:
    """The rows of one model, and a line about it."""
    from core.benchmark.weights import prepare
    from core.streaming import Stream
    from core.tagging import load_tagger

    files, source = prepare(name, folder)
    tagger = load_tagger(checkpoint=files.safetensors, runtime=runtime)
    stream = Stream(tagger, WINDOW_S, HOP_S)
    window, hop = round(WINDOW_S * SAMPLE_RATE), round(HOP_S * SAMPLE_RATE)
    noise = 0.1 * np.random.default_rng(0).standard_normal(window).astype(np.float32)
    for _ in range(2):
        stream.push(noise)
    steps: dict[str, Callable[[], object]] = {
        f"hop of {HOP_S:g} s": lambda: stream.push(noise[:hop]),
        f"pass over {WINDOW_S:g} s": lambda: tagger.probabilities(noise),
        "pass over 1 s": lambda: tagger.probabilities(noise[:SAMPLE_RATE]),
    }
    times: dict[str, list[tuple[float, float]]] = {step: [] for step in steps}
    for turn in range(hops):
        for position, (step, run) in enumerate(steps.items()):
            if position == 0 or turn % 4 == 0:
                started = time.perf_counter(), time.process_time()
                run()
                times[step].append((time.perf_counter() - started[0], time.process_time() - started[1]))
    rows = []
    for step, pairs in times.items():
        wall, processor = (1e3 * np.array(column) for column in zip(*pairs, strict=True))
        figures = (wall.min(), np.median(wall), processor.min(), np.median(processor))
        rows.append(f"| {name} | {step} | {' | '.join(f'{figure:.1f}' for figure in figures)} |")
    rows.append(
        f"{name} ({source}): {stream.why}; {tagger.runtime_why}; the stream keeps {stream.nbytes / 1e6:.1f} MB, the engine "
        f"{tagger.engine_bytes / 1e6:.0f}"
    )
    return rows


if __name__ == "__main__":
    sys.exit(main())
