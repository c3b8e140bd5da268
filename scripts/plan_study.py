#!/usr/bin/env python3
"""Do automatic plans beat the uniform one, at the same cost, on clips that were not used to find them?

    scripts/plan_study.py CLIPS

CLIPS has meta.csv (filename, fold, audioset_labels) and audio/. Plans are found on clips of fold 1 and scored on fold 4, which the embedded
network has not learned from, as they are and after repair on the clips that they were found on. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from core.audio import load_clip
from core.models.network import Network
from core.profiling import count
from core.pruning.fidelity import fidelity, predictions
from core.pruning.plan import PruningPlan, plan
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.repair import repair
from core.pruning.search.budget import Budget
from core.pruning.search.search import find_plan
from core.pruning.search.sensitivity import mean_average_precision, measure_sensitivity
from core.pruning.surgery import prune
from core.tagging import load_tagger
from core.training.data import read_manifest

RATIOS = (0.25, 0.5, 0.75)
FIGURES = ("divergence", "first tag", "first five", "mAP")
Row = dict[str, float]


def main() -> None:
    """Find and score every plan, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path)
    parser.add_argument("--found-on", type=int, default=24, help="clips to find a plan on")
    chosen = parser.parse_args()
    rows: dict[tuple[str, float, str, bool], Row] = {}
    tagger = load_tagger("demo-cnn14")
    every = read_manifest(chosen.clips / "meta.csv", chosen.clips / "audio", tagger.classes)
    found_on, scored = every.select(["1"]), every.select(["4"])
    picked = np.sort(np.random.default_rng(0).permutation(len(found_on))[: chosen.found_on])
    search_clips = [load_clip(found_on.paths[index]).waveform for index in picked]
    held_out = [load_clip(path).waveform for path in scored.paths]
    _study(tagger.model, search_clips, held_out, scored.targets, rows)
    _print(rows)


def _study(
    model: Network,
    search_clips: list[np.ndarray],
    held_out: list[np.ndarray],
    targets: np.ndarray,
    rows: dict[tuple[str, float, str, bool], Row],
) -> None:
    parent = predictions(model, held_out)

    def score(made: PruningPlan, method: str, key: tuple[str, float]) -> None:
        pruned = prune(model, made, share=True)
        for repaired in (False, True):
            network = repair(model, made, pruned, search_clips).model if repaired else pruned
            answers = predictions(network, held_out)
            close = fidelity(parent, answers)
            rows[(*key, method, repaired)] = {
                "divergence": close.divergence,
                "first tag": close.first_tag,
                "first five": close.top_k_overlap,
                "mAP": mean_average_precision(targets, answers),
                **_shares(model, made),
            }

    started = time.process_time()
    sensitivity = measure_sensitivity(model, search_clips)
    _log(
        f"sensitivity: {time.process_time() - started:.0f} s, {len(search_clips)} clips; scored on {len(held_out)}"
    )
    _log(f"unpruned: mAP {mean_average_precision(targets, parent):.3f}")
    for kind in ("macs", "params"):
        for ratio in RATIOS:
            uniform = plan(model, ratio)
            score(uniform, "uniform, C7 to C12", (kind, ratio))
            budget = Budget(kind, _shares(model, uniform)[kind])
            for method, repaired in (
                ("automatic", None),
                ("automatic, repaired while searching", RepairConfig()),
            ):
                started = time.process_time()
                found = find_plan(model, sensitivity, budget=budget, waveforms=search_clips, repair=repaired)
                _log(
                    f"{method}, {kind} as at {ratio:g}: {time.process_time() - started:.0f} s, widths {found.after}"
                )
                score(found, method, (kind, ratio))


def _shares(model: Network, made: PruningPlan) -> dict[str, float]:
    before, after = (count(network.config) for network in (model, prune(model, made, share=True)))
    return {
        "params": after.params_trainable / before.params_trainable,
        "macs": after.macs / before.macs,
    }


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(rows: dict[tuple[str, float, str, bool], Row]) -> None:
    titles = [*FIGURES, *(f"{figure}, repaired" for figure in FIGURES)]
    print(f"| as many as uniform | plan | parameters | MACs | {' | '.join(titles)} |")
    print("|---|---|" + "---:|" * (2 + len(titles)))
    for kind, ratio, method, repaired in rows:
        if repaired:
            continue
        plain, mended = (rows[kind, ratio, method, state] for state in (False, True))
        cells = [f"{side[figure]:.3f}" for side in (plain, mended) for figure in FIGURES]
        of = "MACs" if kind == "macs" else "parameters"
        shares = f"{100 * plain['params']:.1f}% | {100 * plain['macs']:.1f}%"
        print(f"| {of} at {100 * ratio:g}% | {method} | {shares} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
