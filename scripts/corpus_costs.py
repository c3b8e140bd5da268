"""What a corpus of ten million clips costs with CNN14 and with E-PANNs: measured on a few clips, multiplied here, printed as the table of docs/scaling.md.

    python scripts/corpus_costs.py ../shared/clips/audio --clips 100

The networks have their published widths and random weights: what they cost does not depend on the weights. Time is processor time of one worker on one thread with its decoder,
which other programs on the machine change little; the start (imports, the engine's compilation) is measured with one clip and subtracted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from core.audio import SUFFIXES
from core.checkpoints import save_checkpoint
from core.classes import ClassSet, audioset
from core.files import files_below
from core.models.cnn import Cnn14, Cnn14Config
from core.units import prefixed

ROOT = Path(__file__).resolve().parents[1]
CNN14 = (64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 2048, 2048)
WIDTHS = {"CNN14": CNN14, "E-PANNs": (*CNN14[:6], 256, 256, 512, 512, 1024, 1024)}
CLIPS, CORES, MACHINES = 10_000_000, 16, (1, 10, 100)
CONTENTS = {
    "5 tags": (),
    "all probabilities": ("--probabilities",),
    "and the embedding": ("--probabilities", "--embeddings"),
}


@dataclass(frozen=True)
class Measured:
    """Of a run: processor seconds, clips, bytes read, bytes of its part files, seconds of audio."""

    cpu_s: float
    clips: int
    read: int
    written: int
    audio_s: float


def measure(corpus: Path, checkpoint: Path, out: Path, options: tuple[str, ...] = ()) -> Measured:
    """One run with one worker."""
    words = [sys.executable, "-m", "core.cli", "batch", str(corpus), "--out", str(out), "-m", str(checkpoint)]
    words += ["--workers", "1", "--part-clips", "1000", "--json", *options]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "PANNSCOPE_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, env=variables, check=True, stdout=subprocess.PIPE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    document = json.loads(done.stdout)
    return Measured(
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        document["tagged"],
        document["bytes_read"],
        sum(path.stat().st_size for path in (out / "clips").rglob("*.parquet")),
        document["audio_s"],
    )


def linked(recordings: list[str], folder: Path) -> Path:
    """A folder with links to recordings."""
    folder.mkdir()
    for path in recordings:
        (folder / Path(path).name).symlink_to(path)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--clips", type=int, default=100)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pannscope-costs-") as temporary:
        folder = Path(temporary)
        paths = sorted(files_below(chosen.recordings.resolve(), SUFFIXES))
        many, one = (
            linked(paths[:: len(paths) // chosen.clips][: chosen.clips], folder / "many"),
            linked(paths[:1], folder / "one"),
        )
        costs: dict[str, float] = {}
        for name, widths in WIDTHS.items():
            torch.manual_seed(0)
            checkpoint = folder / f"{name}.safetensors"
            model = Cnn14(Cnn14Config(widths, len(audioset()), 2048)).eval()
            save_checkpoint(
                checkpoint,
                model,
                classes=ClassSet.from_names([entry.name for entry in audioset()]),
                name=name,
            )
            measure(one, checkpoint, folder / f"{name}-warm")  # compiled kernels are kept from here on
            start, run = (
                measure(corpus, checkpoint, folder / f"{name}-{corpus.name}") for corpus in (one, many)
            )
            costs[name] = (run.cpu_s - start.cpu_s) / (run.clips - start.clips)
            seconds = run.audio_s / run.clips
            print(
                f"{name}: {1e3 * costs[name]:.1f} ms of one core for a clip of {seconds:.1f} s, {run.read / run.clips:.0f} bytes read; start {start.cpu_s:.1f} s"
            )
        read = CLIPS * run.read / run.clips
        print(
            f"\n| network | machines of {CORES} cores | hours | core hours | reads, of each machine |\n|---|---|---|---|---|"
        )
        for name, cost in costs.items():
            for machines in MACHINES:
                hours = CLIPS * cost / (CORES * machines) / 3600
                rate = prefixed(read / machines / hours / 3600, "B/s")
                print(f"| {name} | {machines} | {hours:,.1f} | {CLIPS * cost / 3600:,.0f} | {rate} |")
        print("\n| rows have | a row | ten million |\n|---|---|---|")
        for title, options in CONTENTS.items():
            rows = measure(many, checkpoint, folder / title, options)
            size = rows.written / rows.clips
            print(f"| {title} | {prefixed(size, 'B')} | {prefixed(CLIPS * size, 'B')} |")
        print(
            f"\nread: {prefixed(read, 'B')} for ten million clips, once for any number of networks that run together"
        )


if __name__ == "__main__":
    main()
