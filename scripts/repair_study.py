"""What each step of the repair is worth, on clips that are not calibration clips: Markdown tables on stdout (docs/repair.md).

    python scripts/repair_study.py CLIPS

CLIPS is a folder with meta.csv and audio/. Everything is scored on fold 4, which neither the embedded network nor a repair has learned from.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core import load_tagger
from core.audio import load_clip
from core.examples import EXAMPLES, example_clip
from core.models.cnn import LAYERS
from core.models.network import Network
from core.models.widths import PAPER_LAYERS
from core.pruning.fidelity import fidelity, predictions
from core.pruning.plan import plan
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.repair import repair
from core.pruning.surgery import prune
from core.tagging import Tagger
from core.training.data import LabelledClips, read_manifest
from core.training.metrics import quality

SETTINGS = {
    "50%, C7-C12": (0.5, PAPER_LAYERS),
    "75%, C7-C12": (0.75, PAPER_LAYERS),
    "75%, C1-C12": (0.75, LAYERS),
}
OFF = 1e9  # a ridge so strong that the correction it belongs to does nothing
METHODS = {
    "batch norm alone": RepairConfig(reconstruct=False),
    "least squares of whole maps alone": RepairConfig(tap_ridge=OFF),
    "least squares of kernels alone": RepairConfig(map_ridge=OFF),
    "fc1 alone": RepairConfig(map_ridge=OFF, tap_ridge=OFF, batch_norm=False),
    "all but fc1": RepairConfig(summary_ridge=OFF),
    "all but batch norm": RepairConfig(batch_norm=False),
    "no variants": RepairConfig(windows=1),
    "tap ridge 0.1": RepairConfig(tap_ridge=1e-1),
    "tap ridge 0.001": RepairConfig(tap_ridge=1e-3),
    "as it is": RepairConfig(),
}


def main(folder: Path) -> None:
    """Print the tables."""
    tagger = load_tagger("demo-cnn14")
    clips = read_manifest(folder / "meta.csv", folder / "audio", classes=tagger.classes)
    unseen = clips.select(["4"])
    scored = sample(unseen, len(unseen))
    learned = clips.select(["1"])
    sixteen = sample(learned, 16)
    print("Repaired on 16 clips of fold 1:\n")
    compare(tagger.model, scored, {name: (method, sixteen) for name, method in METHODS.items()})
    examples = [example_clip(example.key).waveform for example in EXAMPLES]
    one = sample(learned, 1)
    sounds = {
        "one clip of 5 s": one,
        f"the {len(EXAMPLES)} synthesised examples": examples,
        "these and the clip": examples + one,
    }
    sounds |= {f"{count} clips of 5 s": sample(learned, count) for count in (4, 8, 16, 32, 64)}
    print("\nThe same method, by calibration clips:\n")
    compare(tagger.model, scored, {name: (RepairConfig(), waveforms) for name, waveforms in sounds.items()})
    print("\nMean average precision:\n")
    held_out(tagger, unseen, examples, sample(clips.select(["1", "2", "3"]), 16))


def compare(
    model: Network, scored: Sequence[np.ndarray], ways: dict[str, tuple[RepairConfig, list[np.ndarray]]]
) -> None:
    """One row a way to repair, one column a plan: divergence in nats / share of clips whose first tag stays."""
    expected = predictions(model, scored)
    plans = {name: plan(model, ratio, layers) for name, (ratio, layers) in SETTINGS.items()}
    networks = {name: prune(model, made) for name, made in plans.items()}
    row("", *SETTINGS)
    row(*["---"] * (len(SETTINGS) + 1))
    row("not repaired", *(agreement(expected, network, scored) for network in networks.values()))
    for name, (config, calibration_clips) in ways.items():
        repaired = [
            repair(model, plans[key], networks[key], calibration_clips, config).model for key in SETTINGS
        ]
        row(name, *(agreement(expected, network, scored) for network in repaired))


def agreement(expected: np.ndarray, network: Network, scored: Sequence[np.ndarray]) -> str:
    """Divergence and first tag, as the tables show them."""
    result = fidelity(expected, predictions(network, scored))
    return f"{result.divergence:.2f} / {result.first_tag:.0%}"


def held_out(
    tagger: Tagger, unseen: LabelledClips, examples: list[np.ndarray], others: list[np.ndarray]
) -> None:
    """mAP of clips that a network was not trained on: unpruned, pruned, and repaired on examples or on other clips."""
    waveforms = sample(unseen, len(unseen))
    scores: dict[str, list[float]] = {}
    for ratio, layers in SETTINGS.values():
        made = plan(tagger.model, ratio, layers)
        pruned = prune(tagger.model, made)
        for name, network in {
            "unpruned": tagger.model,
            "pruned": pruned,
            "repaired on the synthesised examples": repair(tagger.model, made, pruned, examples).model,
            "repaired on 16 clips of other folds": repair(tagger.model, made, pruned, others).model,
        }.items():
            scored = quality(unseen.targets, predictions(network, waveforms), tagger.classes)
            scores.setdefault(name, []).append(scored.mean_average_precision)
    row("", *SETTINGS)
    row(*["---"] * (len(SETTINGS) + 1))
    for name, values in scores.items():
        row(name, *(f"{value:.3f}" for value in values))


def sample(clips: LabelledClips, count: int) -> list[np.ndarray]:
    """Waveforms of some of the clips; of all of them in their order where all are asked for."""
    if count == len(clips):
        chosen = np.arange(count)
    else:
        chosen = np.random.default_rng(0).permutation(len(clips))[:count]
    return [load_clip(clips.paths[index]).waveform for index in chosen]


def row(*cells: str) -> None:
    """One row of a Markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
