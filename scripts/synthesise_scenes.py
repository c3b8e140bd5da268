"""How exactly events are found: scenes of synthesised sounds with known onsets, and a table of precision, recall and onset error, Markdown on stdout.

    python scripts/synthesise_scenes.py [--scenes N] [--out FOLDER] [options of pannscope timeline] MODEL…

A MODEL is a name of the manifest or a checkpoint file. With --out the scenes are written as WAV files, with their events as DCASE's
annotations, scenes.tsv, beside them.

A scene is a minute of quiet noise with up to six sounds of core/examples, 3 to 6 s of each, 2 to 5 s apart, at levels of -12 to 0 dB: sounds that the network recognises when
it runs on a whole example, so that the table is about time and not about what a network makes of synthesised sounds. A sound's events are those of its tags. An
event that is found is right where its class is one of these and its onset is within a second of the sound's, each once; every other one is wrong, a second
event of the same sound too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from core.audio import SAMPLE_RATE, encode_wav, load_clip
from core.checkpoints import manifest
from core.events import Event, EventSettings, TimelineSettings, detect, rows
from core.examples import EXAMPLES, example_clip, synthesize
from core.tagging import Tagger, load_tagger

SECONDS, SOUNDS = 60, 6
COLLAR_S = 1.0
"""How far an onset may be off: the windows' default distance. DCASE's collar of 0.2 s is for networks with rows of 0.02 s."""

_NOISE = 10 ** (-60 / 20)
_FADE = 640  # samples: 20 ms


@dataclass(frozen=True)
class Sound:
    """A sound in a scene: the tags that apply to it, and from when to when it lasts, in seconds."""

    tags: tuple[str, ...]
    onset_s: float
    offset_s: float


def scene(seed: int, tags: Mapping[str, Sequence[str]]) -> tuple[np.ndarray, list[Sound]]:
    """A scene of examples, key -> tags: its samples (samples,) at 32 kHz, and the sounds in it."""
    rng = np.random.default_rng(seed)
    waveform = _NOISE * rng.standard_normal(SECONDS * SAMPLE_RATE)
    sounds, at = [], 0.0
    for key in rng.permutation(sorted(tags))[:SOUNDS]:
        at += float(rng.uniform(2, 5))
        recorded = synthesize(key)
        length = min(len(recorded), round(float(rng.uniform(3, 6)) * SAMPLE_RATE))
        first = int(rng.integers(0, len(recorded) - length + 1))
        part = recorded[first : first + length] * 10 ** (rng.uniform(-12, 0) / 20)
        ramp = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / _FADE)
        start = round(at * SAMPLE_RATE)
        waveform[start : start + length] += part * ramp
        sounds.append(Sound(tuple(tags[key]), start / SAMPLE_RATE, (start + length) / SAMPLE_RATE))
        at = (start + length) / SAMPLE_RATE
    return np.clip(waveform, -1, 1), sounds


@dataclass
class Score:
    """Events of some scenes: how many there are, how many were found, how many of these are right, and how far their onsets are off."""

    present: int = 0
    found: int = 0
    right: int = 0
    errors_s: tuple[float, ...] = ()

    def add(self, events: Sequence[Event], sounds: Sequence[Sound]) -> None:
        """Count a scene's events."""
        left = list(events)
        self.found += len(left)
        for sound in sounds:
            for tag in sound.tags:
                self.present += 1
                near = [
                    event
                    for event in left
                    if event.name == tag and abs(event.onset_s - sound.onset_s) <= COLLAR_S
                ]
                if near:
                    best = min(near, key=lambda event: abs(event.onset_s - sound.onset_s))
                    left.remove(best)
                    self.right += 1
                    self.errors_s += (best.onset_s - sound.onset_s,)

    def cells(self) -> list[str]:
        """Precision, recall, F1, and the errors of the onsets: median, and mean with its sign."""
        precision, recall = self.right / max(1, self.found), self.right / max(1, self.present)
        both = 2 * self.right / max(1, self.found + self.present)
        errors = np.array(self.errors_s or [np.nan])
        return [
            f"{self.present}",
            *(f"{value:.2f}" for value in (precision, recall, both)),
            f"{np.median(np.abs(errors)):.2f} s",
            f"{errors.mean():+.2f} s",
        ]


def recognized(tagger: Tagger, threshold: float) -> dict[str, list[str]]:
    """The tags of whole examples that a network recognises, by the examples' keys."""
    tags = {}
    for example in EXAMPLES:
        above = {tag.name for tag in tagger.tag(example_clip(example.key)).above(threshold)}
        if found := [tag for tag in example.tags if tag in above]:
            tags[example.key] = found
    return tags


def measure(tagger: Tagger, scenes: int, windows: TimelineSettings, settings: EventSettings) -> list[str]:
    """One network on all scenes: how many of the examples it recognises, and its score."""
    score, tags = Score(), recognized(tagger, settings.on)
    for seed in range(scenes):
        waveform, sounds = scene(seed, tags)
        clip = load_clip(encode_wav(waveform.astype(np.float32)), name=f"scene-{seed}.wav")
        score.add(detect(rows(tagger, clip.blocks(), windows), tagger.classes, settings), sounds)
    return [f"{len(tags)} of {len(EXAMPLES)}", *score.cells()]


def write(folder: Path, scenes: int) -> None:
    """The scenes as files, with their annotations."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["filename\tonset\toffset\tevent_label"]
    for seed in range(scenes):
        waveform, sounds = scene(seed, {example.key: example.tags for example in EXAMPLES})
        soundfile.write(folder / f"scene-{seed}.wav", waveform, SAMPLE_RATE)
        lines += [
            f"scene-{seed}.wav\t{sound.onset_s:.3f}\t{sound.offset_s:.3f}\t{tag}"
            for sound in sounds
            for tag in sound.tags
        ]
    (folder / "scenes.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--window", type=float, nargs="+", default=[2.0])
    parser.add_argument("--overlap", type=float, nargs="+", default=[0.5])
    parser.add_argument("--min-confidence", type=float, default=0.5)
    parser.add_argument("--min-length", type=float, default=0.0)
    parser.add_argument("--max-gap", type=float, default=0.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.out is not None:
        write(given.out, given.scenes)
    settings = EventSettings(given.min_confidence, None, given.min_length, given.max_gap)
    columns = (
        "network",
        "window",
        "next after",
        "sounds",
        "events",
        "precision",
        "recall",
        "F1",
        "onset error, median",
        "mean",
    )
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for model in given.models:
        tagger = load_tagger(model) if model in manifest() else load_tagger(checkpoint=model)
        for window in given.window:
            for overlap in given.overlap:
                windows = TimelineSettings(window, overlap)
                described = windows.describe(tagger)
                score = measure(tagger, given.scenes, windows, settings)
                cells = [
                    Path(model).stem,
                    f"{described['window_s']:g} s",
                    f"{described['hop_s']:g} s",
                    *score,
                ]
                lines.append("| " + " | ".join(cells) + " |")
                sys.stderr.write(lines[-1] + "\n")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
