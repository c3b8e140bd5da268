#!/usr/bin/env python3
"""Do automatic plans beat the uniform one, at the same cost, on clips that were not used to find them?

    scripts/plan_study.py CLIPS                            # find on clips of fold 1, score on all other folds
    scripts/plan_study.py CLIPS --within --folds 1,2,3,4 --model runs/demo/fold{fold}-cnn14.safetensors

CLIPS has meta.csv (filename, fold, audioset_labels) and audio/. With --within both halves of the same fold are used, every second clip
for finding and the others for scoring: for a network that was not trained on that fold, so that its mAP is meaningful. Every plan is scored
as it is and after repair on the clips that it was found on. Prints a table in Markdown; several folds are averaged.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
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
from core.training.data import LabelledClips, read_manifest

RATIOS = (0.25, 0.5, 0.75)
FIGURES = ("divergence", "first tag", "first five", "mAP")
Row = dict[str, float | None]


def main() -> None:
    """Find and score every plan, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path)
    parser.add_argument("--model", default="demo-cnn14", help="a name or a file; {fold} stands for the fold")
    parser.add_argument("--folds", default="1", help="the folds to find plans on, one after the other")
    parser.add_argument(
        "--within", action="store_true", help="score on the other half of the same fold, with mAP"
    )
    parser.add_argument("--found-on", type=int, default=24, help="clips to find a plan on")
    chosen = parser.parse_args()
    rows: dict[tuple[str, float, str, bool], list[Row]] = defaultdict(list)
    for fold in chosen.folds.split(","):
        name = chosen.model.format(fold=fold)
        tagger = load_tagger(checkpoint=name) if "/" in name else load_tagger(name)
        every = read_manifest(chosen.clips / "meta.csv", chosen.clips / "audio", tagger.classes)
        inside = every.select([fold])
        halves = [_rows(inside, np.arange(start, len(inside), 2)) for start in (0, 1)]
        found_on = halves[0] if chosen.within else inside
        picked = np.random.default_rng(0).permutation(len(found_on))[: chosen.found_on]
        search_clips = _waveforms(_rows(found_on, np.sort(picked)))
        others = sorted(set(every.folds) - {fold})
        scored = halves[1] if chosen.within else every.select(others)
        _study(
            tagger.model, search_clips, _waveforms(scored), scored.targets if chosen.within else None, rows
        )
    _print(rows)


def _study(
    model: Network,
    search_clips: list[np.ndarray],
    held_out: list[np.ndarray],
    targets: np.ndarray | None,
    rows: dict[tuple[str, float, str, bool], list[Row]],
) -> None:
    parent = predictions(model, held_out)

    def score(made: PruningPlan, method: str, key: tuple[str, float]) -> None:
        pruned = prune(model, made, share=True)
        for repaired in (False, True):
            network = repair(model, made, pruned, search_clips).model if repaired else pruned
            answers = predictions(network, held_out)
            close = fidelity(parent, answers)
            rows[(*key, method, repaired)].append(
                {
                    "divergence": close.divergence,
                    "first tag": close.first_tag,
                    "first five": close.top_k_overlap,
                    "mAP": None if targets is None else mean_average_precision(targets, answers),
                    "params": _shares(model, made)["params"],
                    "macs": _shares(model, made)["macs"],
                }
            )

    started = time.process_time()
    sensitivity = measure_sensitivity(model, search_clips)
    _log(
        f"sensitivity: {time.process_time() - started:.0f} s, {len(search_clips)} clips; scored on {len(held_out)}"
    )
    if targets is not None:
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


def _rows(clips: LabelledClips, rows: np.ndarray) -> LabelledClips:
    paths, folds = ([values[row] for row in rows] for values in (clips.paths, clips.folds))
    return LabelledClips(tuple(paths), clips.targets[rows], clips.classes, tuple(folds))


def _waveforms(clips: LabelledClips) -> list[np.ndarray]:
    return [load_clip(path).waveform for path in clips.paths]


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(rows: dict[tuple[str, float, str, bool], list[Row]]) -> None:
    labelled = next(iter(rows.values()))[0]["mAP"] is not None
    figures = FIGURES if labelled else FIGURES[:-1]
    titles = [*figures, *(f"{figure}, repaired" for figure in figures)]
    print(f"| as many as uniform | plan | parameters | MACs | {' | '.join(titles)} |")
    print("|---|---|" + "---:|" * (2 + len(titles)))
    for kind, ratio, method, repaired in rows:
        if repaired:
            continue
        plain, mended = (_mean(rows[kind, ratio, method, state]) for state in (False, True))
        cells = [f"{side[figure]:.3f}" for side in (plain, mended) for figure in figures]
        of = "MACs" if kind == "macs" else "parameters"
        shares = f"{100 * plain['params']:.1f}% | {100 * plain['macs']:.1f}%"
        print(f"| {of} at {100 * ratio:g}% | {method} | {shares} | {' | '.join(cells)} |")


def _mean(rows: list[Row]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if rows[0][key] is not None}


if __name__ == "__main__":
    main()
