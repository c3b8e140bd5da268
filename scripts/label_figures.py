"""The tables of docs/labels.md, from the scores that scripts/train-from-labels wrote: Markdown on stdout.

python scripts/label_figures.py OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDS = ("1", "2", "3", "4")
MODELS = ("cnn14", "pruned", "epanns")
TITLES = ("trained", "pruned, not fine-tuned", "fine-tuned")


def main(folder: Path) -> None:
    """Print mAP, AUC and d' per fold, and average precision per class (mean over the folds)."""
    scores = {
        (fold, model): json.loads((folder / f"fold{fold}-{model}.json").read_text())
        for fold in FOLDS
        for model in MODELS
    }
    _print_row(
        "held-out fold",
        "clips",
        *(f"mAP {title}" for title in TITLES),
        f"AUC {TITLES[0]}",
        f"AUC {TITLES[2]}",
    )
    _print_row(*["---"] * 7)
    for fold in FOLDS:
        row = [scores[fold, model] for model in MODELS]
        figures = [f"{score['mAP']:.3f}" for score in row] + [f"{row[0]['auc']:.4f}", f"{row[2]['auc']:.4f}"]
        _print_row(fold, str(row[0]["clips"]), *figures)
    means = [_mean([scores[fold, model]["mAP"] for fold in FOLDS]) for model in MODELS]
    aucs = [_mean([scores[fold, model]["auc"] for fold in FOLDS]) for model in (MODELS[0], MODELS[2])]
    _print_row("mean", "", *(f"**{value:.3f}**" for value in means), *(f"{value:.4f}" for value in aucs))
    print()
    _print_row("class", "clips", *TITLES)
    _print_row(*["---"] * 5)
    for name in sorted({entry["name"] for score in scores.values() for entry in score["per_class"]}):
        entries = [[_of_class(scores[fold, model], name) for fold in FOLDS] for model in MODELS]
        clips = sum(entry["positives"] for entry in entries[0] if entry)
        precision = [_mean([entry["average_precision"] for entry in folds if entry]) for folds in entries]
        _print_row(name, str(clips), *(f"{value:.3f}" for value in precision))


def _of_class(score: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((entry for entry in score["per_class"] if entry["name"] == name), None)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
