"""Which criterion keeps a network closest to its parent: docs/criteria.md's tables, Markdown on stdout.

    python scripts/criteria_study.py CLIPS [--model demo-cnn14]

CLIPS holds meta.csv and audio/ (see checkpoints/README.md). A share of the filters of C7 to C12 is removed by every criterion, and the
pruned network's answers are held against the unpruned one's, before and after a repair without labels. The repair runs on clips of
fold 1; everything is scored on fold 4, which the embedded networks have not learned from. ``random`` is drawn anew several times: its spread says which differences are chance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.audio import load_clip
from core.models.cnn import LAYERS, Cnn14
from core.models.widths import PAPER_LAYERS
from core.pruning.criteria import CRITERIA
from core.pruning.fidelity import Fidelity, fidelity
from core.pruning.plan import PruningPlan, plan
from core.pruning.repair.repair import repair
from core.pruning.surgery import prune
from core.tagging import load_tagger
from core.training.data import LabelledClips, read_manifest

RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9)
REPAIR_CLIPS = 16
RANDOM_DRAWS = 5
BEFORE = LAYERS[: LAYERS.index(PAPER_LAYERS[0])]
Figure = Callable[[Fidelity], float]


class Study:
    """C7's input on the clips, which no pruning of C7 to C12 changes, and the unpruned network's output."""

    def __init__(self, model: Cnn14, clips: LabelledClips) -> None:
        self.model = model
        training, scored = clips.select(["1"]), clips.select(["4"])
        # Every n-th clip: the manifest is ordered by class, so that most classes occur.
        chosen = np.linspace(0, len(training) - 1, REPAIR_CLIPS).round().astype(int)
        self.repair_clips = [load_clip(training.paths[index]).waveform for index in chosen]
        self.layer_inputs = [self._until_c7(load_clip(path).waveform) for path in scored.paths]
        self.parent = self.answers(model)

    @torch.inference_mode()
    def _until_c7(self, waveform: np.ndarray) -> Tensor:
        x = self.model.normalize(self.model.front_end(torch.tensor(waveform)[None]))
        for layer in BEFORE:
            x = self.model.layer(layer, x)
        return x

    @torch.inference_mode()
    def answers(self, model: Any) -> np.ndarray:
        """Probabilities (clips, classes) of a network that shares C1 to C6 with the parent."""
        outputs = []
        for x in self.layer_inputs:
            for layer in PAPER_LAYERS:
                x = model.layer(layer, x)
            outputs.append(torch.sigmoid(model.head(x))[0].numpy())
        return np.stack(outputs)

    def score(self, chosen: PruningPlan) -> tuple[Fidelity, Fidelity]:
        """Fidelity of the plan's network before and after the repair."""
        pruned = prune(self.model, chosen)
        repaired_network = repair(self.model, chosen, pruned, self.repair_clips).model
        return fidelity(self.parent, self.answers(pruned)), fidelity(
            self.parent, self.answers(repaired_network)
        )


def main() -> None:
    """Prune by every criterion at every ratio, and print one table a measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--model", default="demo-cnn14")
    options = parser.parse_args()
    tagger = load_tagger(options.model)
    model = tagger.model
    if not isinstance(model, Cnn14):
        parser.error(f"{options.model} is no CNN14, whose layers are compared here.")
    study = Study(
        model,
        read_manifest(options.clips / "meta.csv", options.clips / "audio", classes=tagger.classes),
    )
    results: dict[str, list[list[tuple[Fidelity, Fidelity]]]] = {}
    for name in CRITERIA:
        results[name] = []
        for ratio in RATIOS:
            print(f"{name} {ratio:g}", file=sys.stderr)
            results[name].append([study.score(chosen) for chosen in _plans(model, name, ratio)])
    print(f"{len(study.layer_inputs)} clips; {options.model}; C7 to C12.\n")
    for repaired, when in enumerate(("before repair", "after repair")):
        _table(
            f"Divergence in nats per clip, {when}",
            results,
            repaired,
            lambda result: result.divergence,
            "{:.3f}",
        )
        _table(
            f"Clips whose first tag stays, {when}",
            results,
            repaired,
            lambda each: 100 * each.first_tag,
            "{:.0f} %",
        )


def _plans(model: Cnn14, name: str, ratio: float) -> list[PruningPlan]:
    if name != "random":
        return [plan(model, ratio, PAPER_LAYERS, name)]
    return [plan(model, ratio, PAPER_LAYERS, name, scores=_draw(model, seed)) for seed in range(RANDOM_DRAWS)]


def _draw(model: Cnn14, seed: int) -> Callable[[str], np.ndarray]:
    def scores(layer: str) -> np.ndarray:
        order = np.random.default_rng([seed, LAYERS.index(layer)])
        return order.permutation(model.convolution(layer).out_channels) + 1.0

    return scores


def _table(
    title: str,
    results: dict[str, list[list[tuple[Fidelity, Fidelity]]]],
    repaired: int,
    figure: Figure,
    form: str,
) -> None:
    print(f"{title}:\n")
    print("| criterion | " + " | ".join(f"{100 * ratio:g} %" for ratio in RATIOS) + " |")
    print("|---" * (1 + len(RATIOS)) + "|")
    for name, row in results.items():
        cells = []
        for scored in row:
            values = [figure(each[repaired]) for each in scored]
            cell = form.format(float(np.mean(values)))
            if len(values) > 1:
                cell += f" ({form.format(min(values))} to {form.format(max(values))})"
            cells.append(cell)
        print(f"| `{name}` | " + " | ".join(cells) + " |")
    print()


if __name__ == "__main__":
    main()
