"""Similarity pruning of a DCASE 2021 network that is trained here: docs/dcase2021.md's table, Markdown on stdout.

    python scripts/scene_study.py CLIPS WORK

CLIPS holds meta.csv and audio/ (see checkpoints/README.md). WORK keeps the clips as the network takes them, the networks and their scores; a study
that was stopped goes on there. Every step is a command of ``pannscope``, which is printed to stderr.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from core.audio import SAMPLE_RATE, load_clip

SECONDS = 10  # the only length that the network takes
TRAINING, HELD_OUT = "1,2,3", "4"
DATA = ("--manifest", "ten.csv", "--audio", "ten")
RECIPE = ("--batch", "8", "--schedule", "cosine", "--seed", "0", "--save-every", "50")
PRUNINGS = {
    "similar": ("--criterion", "similarity"),
    # The ratios that give the paper's figures: half of conv1 and conv2.
    "central": ("--criterion", "graph-centrality", "--ratios", "conv1=0.5,conv2=0.5"),
}


def main() -> None:
    """Train, prune, score and fine-tune, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if not (options.work / "ten.csv").is_file():
        prepare(options.clips, options.work)
    training = (
        "--folds",
        TRAINING,
        "--evaluate-folds",
        HELD_OUT,
        *RECIPE,
        *DATA,
    )

    def step(name: str, *command: str, trains: bool = False) -> dict[str, Any]:
        return run(options.work, name, *command, *(training if trains else ()))

    network = (
        "--architecture",
        "dcase2021-task1a",
        "--steps",
        "700",
        "--learning-rate",
        "0.002",
        "--threads",
        "2",
    )
    further = ("--steps", "400", "--learning-rate", "0.001", "--threads", "1")
    whole = step("scenes", "train", *network, "--out", "scenes.safetensors", trains=True)
    accuracies = {"scenes": whole["metrics"]["evaluation"]["accuracy"]}
    for name, how in PRUNINGS.items():
        step(name, "prune", "-m", "scenes.safetensors", *how, "--out", f"{name}.safetensors")
        scored = ("evaluate", "-m", f"{name}.safetensors", "--folds", HELD_OUT, *DATA)
        accuracies[name] = step(f"eval-{name}", *scored)["accuracy"]
    for name in accuracies:
        tuning = ("finetune", "-m", f"{name}.safetensors", *further, "--out", f"ft-{name}.safetensors")
        tuned = step(f"ft-{name}", *tuning, trains=True)["metrics"]["evaluation"]["accuracy"]
        counts = step(f"count-{name}", "profile", "-m", f"{name}.safetensors")
        row = [
            name,
            str(counts["widths"]),
            f"{counts['params_trainable']:,}",
            f"{counts['macs_network'] / 1e6:.1f} M",
        ]
        print("|", " | ".join([*row, f"{accuracies[name]:.0%}", f"{tuned:.0%}"]), "|")


def prepare(clips: Path, work: Path) -> None:
    """The recordings at 32 kHz, each repeated until it is 10 s long, and a manifest with their one category."""
    (work / "ten").mkdir(exist_ok=True)
    rows = [("filename", "labels", "fold")]
    with (clips / "meta.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            waveform = np.resize(load_clip(clips / "audio" / row["filename"]).waveform, SECONDS * SAMPLE_RATE)
            name = Path(row["filename"]).with_suffix(".wav").name
            soundfile.write(work / "ten" / name, waveform, SAMPLE_RATE, subtype="PCM_16")
            rows.append((name, row["category"], row["fold"]))
    with (work / "ten.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def run(work: Path, name: str, *command: str) -> dict[str, Any]:
    """A command's JSON, kept as NAME.json; a training that was stopped is resumed."""
    result = work / f"{name}.json"
    if not result.is_file() or not result.read_text(encoding="utf-8"):
        resumed = ["--resume"] if (work / f"{name}.state.pt").is_file() else []
        call = [*command, *resumed, "--json"]
        print("pannscope", *call, file=sys.stderr)
        root = str(Path(__file__).resolve().parents[1])
        done = subprocess.run(
            [sys.executable, "-m", "pannscope", *call],
            cwd=work, env={**os.environ, "PYTHONPATH": root}, check=True, stdout=subprocess.PIPE,
        )  # fmt: skip
        result.write_bytes(done.stdout)
    document: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return document


if __name__ == "__main__":
    main()
