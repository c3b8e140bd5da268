"""Tables of the model cards: agreement with the teacher on the pool's held-out sources, as Markdown on stdout.

    python scripts/teacher_agreement.py POOL TEACHER [MODEL...]

``POOL`` is a folder with ``meta.csv`` and ``audio/`` (see checkpoints/README.md), ``TEACHER`` the file of mn04's published weights. Whole
recordings, as they are tagged.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.audio import load_clip
from core.tagging import Tagger, load_tagger
from core.training.agreement import teacher_agreement

HELD_OUT = (
    "debian:hydrogen-drumkits",
    "github:rse/soundfx",
    "github:sfzinstruments/body_percussion",
    "github:chaeyoung-lee/wids_tutorial",
    "debian:naev-data",
    "github:foxssake/netfox",
    "github:digabi/map-tiles",
)
"""What no stage of the training has used."""

SURE = 0.3
"""From here on the teacher's likeliest class counts as sure."""

Outputs = npt.NDArray[np.float32]


def main(pool: Path, teacher: Path, models: list[str]) -> None:
    """Print both tables."""
    with (pool / "meta.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] in HELD_OUT]
    taggers = [load_tagger(checkpoint=teacher, architecture="mn04"), *map(load_tagger, models)]
    waveforms = [load_clip(pool / "audio" / row["filename"]).waveform for row in rows]
    taught, *given = (_outputs(tagger, waveforms) for tagger in taggers)
    likeliest = taught.argmax(1)
    constant = [position for position, _ in Counter(likeliest.tolist()).most_common(5)]
    hits = [(np.argsort(-each, 1)[:, :5] == likeliest[:, None]).any(1) for each in given]
    hits.append(np.isin(likeliest, constant))
    sure = taught.max(1) >= SURE
    other = likeliest != taggers[0].classes.names.index("Music")
    _print("its likeliest class is in the first five", "recordings", *models, "five that never change")
    _print(*["---"] * (len(hits) + 2))
    parts = [
        ("all", sure | ~sure),
        (f"given {SURE:g} or more", sure),
        ("not Music", other),
        ("both", other & sure),
    ]
    sources = np.array([row["source"] for row in rows])
    for name, part in parts + [(source, sources == source) for source in HELD_OUT]:
        _print(name, str(part.sum()), *(f"{100 * hit[part].mean():.0f} %" for hit in hits))
    print()
    _print("", "its likeliest in the teacher's first three", "mean difference over the teacher's first ten")
    _print(*["---"] * 3)
    for model, each in zip(models, given, strict=True):
        agreement = teacher_agreement(taught, each)
        _print(model, f"{100 * agreement.first_in_three:.0f} %", f"{agreement.difference:.3f}")


def _outputs(tagger: Tagger, waveforms: list[npt.NDArray[np.float32]]) -> Outputs:
    return np.stack([tagger.probabilities(waveform) for waveform in waveforms])


def _print(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python scripts/teacher_agreement.py POOL TEACHER [MODEL...]")
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or ["demo-cnn14", "demo-epanns"])
