"""Held-out clips as other equipment would have recorded them: the last table of docs/labels.md, Markdown on stdout.

    python scripts/label_robustness.py CLIPS OUT

CLIPS and OUT are those of scripts/train-from-labels. Each fold's networks run on the fold that they were not trained on, as recorded and
altered; the alterations are made here, by other means than those of training (core/training/augment.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from core.audio import SAMPLE_RATE, load_clip
from core.tagging import load_tagger
from core.training.data import read_manifest
from core.training.metrics import quality

FOLDS = ("1", "2", "3", "4")
MODELS = {"cnn14": "trained", "epanns": "fine-tuned"}
Alteration = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def band_limited(cutoff_hz: float) -> Alteration:
    """Nothing above ``cutoff_hz``: a brick wall, as a resampler makes it."""

    def alter(waveform: np.ndarray, _: np.random.Generator) -> np.ndarray:
        spectrum = np.fft.rfft(waveform)
        spectrum[np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE) > cutoff_hz] = 0
        return np.fft.irfft(spectrum, len(waveform))

    return alter


def noisy(snr_db: float) -> Alteration:
    """Pink noise over the full band, ``snr_db`` below the clip's mean level."""

    def alter(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
        spectrum = np.fft.rfft(random.standard_normal(len(waveform)))
        spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE), 50.0))
        noise = np.fft.irfft(spectrum, len(waveform))
        level = np.sqrt(np.mean(waveform**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
        return waveform + level * noise

    return alter


def quieter(decibels: float) -> Alteration:
    """The whole clip ``decibels`` down."""
    return lambda waveform, _: waveform * 10 ** (-decibels / 20)


ALTERATIONS: dict[str, Alteration] = {
    "as recorded": lambda waveform, _: waveform,
    "cut off at 8 kHz": band_limited(8000.0),
    "cut off at 4 kHz": band_limited(4000.0),
    "pink noise, 10 dB below": noisy(10.0),
    "20 dB quieter": quieter(20.0),
}


def main(clips_folder: Path, runs: Path) -> None:
    """Print, for every alteration and both networks: mAP, detected speech, and other clips detected as speech."""
    clips = read_manifest(clips_folder / "meta.csv", clips_folder / "audio")
    speech = clips.classes.names.index("Speech")
    print(
        "| held-out clips | "
        + " | ".join(f"mAP {name} | speech detected | false detections" for name in MODELS.values())
        + " |"
    )
    print("|---" * (1 + 3 * len(MODELS)) + "|")
    for title, alter in ALTERATIONS.items():
        cells = []
        for model in MODELS:
            targets, detections, precisions = [], [], []
            for fold in FOLDS:
                held_out = clips.select([fold])
                tagger = load_tagger(checkpoint=runs / f"fold{fold}-{model}.safetensors")
                random = np.random.default_rng(int(fold))
                probabilities = [
                    tagger.probabilities(alter(load_clip(path).waveform, random).astype(np.float32))
                    for path in held_out.paths
                ]
                precisions.append(
                    quality(held_out.targets, np.stack(probabilities), clips.classes).mean_average_precision
                )
                targets.append(held_out.targets[:, speech] > 0)
                detections.append(np.stack(probabilities)[:, speech] >= 0.5)
            truth, detected = np.concatenate(targets), np.concatenate(detections)
            cells += [
                f"{np.mean(precisions):.3f}",
                f"{np.sum(detected & truth)} of {np.sum(truth)}",
                f"{np.sum(detected & ~truth)} of {np.sum(~truth)}",
            ]
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
