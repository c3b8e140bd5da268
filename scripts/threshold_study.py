"""What a network recognises at each threshold on labelled recordings: the table in docs/conventions.md."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from core.audio import load_clip
from core.tagging import load_tagger
from core.training.recordings import list_manifest

THRESHOLDS = (0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50)


def main() -> None:
    """Print a line a threshold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder with audio/ and a manifest meta.csv")
    parser.add_argument("--model", default="mn04", help="name or checkpoint")
    parser.add_argument("--fold", default="4")
    chosen = parser.parse_args()
    file = Path(chosen.model)
    tagger = load_tagger(checkpoint=file) if file.is_file() else load_tagger(chosen.model)
    listed = list_manifest(chosen.clips / "meta.csv", chosen.clips / "audio", [chosen.fold])
    columns = {index: column for column, index in enumerate(tagger.classes.indices)}
    labels = np.zeros((len(listed), len(columns)), bool)
    for row, entry in enumerate(listed):
        labels[row, [columns[index] for index in entry.labels]] = True
    probabilities = np.stack([tagger.probabilities(load_clip(entry.path).waveform) for entry in listed])
    labelled = labels.any(axis=0)
    print("threshold  labels recognised  right, of the recognised  without any tag  tags a recording")
    for threshold in THRESHOLDS:
        given = probabilities >= threshold
        right = (given & labels).sum()
        figures = (
            right / labels.sum(),
            right / max(1, given[:, labelled].sum()),
            1 - given.any(axis=1).mean(),
        )
        shares = "  ".join(f"{100 * share:.0f}%" for share in figures)
        print(f"{threshold:.2f}  {shares}  {given.sum(axis=1).mean():.1f}")


if __name__ == "__main__":
    main()
