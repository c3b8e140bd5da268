"""What healing is worth beside repair, on a fold that neither of them used: a Markdown table on stdout (docs/repair.md).

    python scripts/healing_study.py CLIPS OUT [--model NAME] [--fold N] [--steps LIST] [--only SETTING]

CLIPS is a folder with meta.csv and audio/. Every network is repaired on 16 clips of the other folds and then healed on all clips of theirs, without
labels, for so many steps. Results are kept in OUT, states as well: a study that was stopped goes on when it is started again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from core import load_tagger
from core.models.cnn import LAYERS
from core.models.network import Network
from core.models.widths import PAPER_LAYERS
from core.pruning.fidelity import fidelity, predictions
from core.pruning.plan import plan
from core.pruning.repair.repair import repair
from core.pruning.surgery import prune
from core.tagging import Tagger
from core.training.data import LabelledClips, read_manifest
from core.training.healing import heal
from core.training.metrics import quality
from core.training.recordings import Recordings, list_manifest, load_recordings

SETTINGS = {
    "75%, C7-C12": (0.75, PAPER_LAYERS),
    "75%, C1-C12": (0.75, LAYERS),
    "50%, C7-C12": (0.5, PAPER_LAYERS),
    "50%, C1-C12": (0.5, LAYERS),
}
CALIBRATION_CLIPS = 16


class Study:
    """One network and one held-out fold, with what has been measured of them."""

    def __init__(self, clips: Path, out: Path, model: str, fold: str) -> None:
        self.prefix = out / f"{model}-fold{fold}"
        self.results_file = self.prefix.with_suffix(".json")
        self.results: dict[str, dict[str, float]] = (
            json.loads(self.results_file.read_text()) if self.results_file.is_file() else {}
        )
        self.tagger: Tagger = load_tagger(model)
        manifest, audio = clips / "meta.csv", clips / "audio"
        labelled = read_manifest(manifest, audio, classes=self.tagger.classes)
        self.scored: LabelledClips = labelled.select([fold])
        self.waveforms = [self.scored.waveform(row) for row in range(len(self.scored))]
        others = sorted(set(labelled.folds) - {fold})
        self.learned: Recordings = load_recordings(list_manifest(manifest, audio, others))
        self.expected = predictions(self.tagger.model, self.waveforms)

    def measure(self, name: str, network: Network, **more: float) -> None:
        """Score a network on the held-out fold, and keep the figures."""
        outputs = predictions(network, self.waveforms)
        agreement = fidelity(self.expected, outputs)
        scored = quality(self.scored.targets, outputs, self.tagger.classes)
        self.results[name] = {
            "divergence": agreement.divergence,
            "first_tag": agreement.first_tag,
            "mAP": scored.mean_average_precision,
            **more,
        }
        self.results_file.write_text(json.dumps(self.results, indent=1))

    def run(self, setting: str, steps: list[int]) -> None:
        """Whatever has not been measured of one setting."""
        ratio, layers = SETTINGS[setting]
        rows = np.random.default_rng(0).permutation(len(self.learned))[:CALIBRATION_CLIPS]
        made = plan(self.tagger.model, ratio, layers)
        pruned = prune(self.tagger.model, made)
        calibration = [self.learned.waveform(int(row)).numpy() for row in rows]
        repaired = repair(self.tagger.model, made, pruned, calibration).model
        if "unpruned" not in self.results:
            self.measure("unpruned", self.tagger.model)
        for name, network in (("pruned", pruned), ("repaired", repaired)):
            if f"{setting}: {name}" not in self.results:
                self.measure(f"{setting}: {name}", network)
        for count in steps:
            name = f"{setting}: healed, {count} steps"
            if name in self.results:
                continue
            state = self.prefix.with_name(f"{self.prefix.name}-{setting.replace('%, ', '-')}-{count}.pt")
            started = time.process_time()
            healed = heal(self.tagger.model, repaired, self.learned, minutes=0, steps=count, state_file=state)
            self.measure(name, healed.model, processor_seconds=time.process_time() - started)

    def table(self, steps: list[int]) -> None:
        """What is known by now."""
        print("| | divergence, nats | first tag stays | mAP |\n| --- | --- | --- | --- |")
        names = [
            f"{setting}: {method}"
            for setting in SETTINGS
            for method in ("pruned", "repaired", *(f"healed, {count} steps" for count in steps))
        ]
        for name in ("unpruned", *names):
            if name in self.results:
                row = self.results[name]
                print(f"| {name} | {row['divergence']:.3f} | {row['first_tag']:.0%} | {row['mAP']:.3f} |")


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description="What healing is worth beside repair.")
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="demo-cnn14")
    parser.add_argument("--fold", default="4", help="which neither repair nor healing uses")
    parser.add_argument("--steps", type=int, nargs="*", default=[600, 3600])
    parser.add_argument("--only", choices=list(SETTINGS), nargs="*", default=list(SETTINGS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    study = Study(given.clips, given.out, given.model, given.fold)
    for setting in given.only:
        study.run(setting, given.steps)
    study.table(given.steps)


if __name__ == "__main__":
    main()
