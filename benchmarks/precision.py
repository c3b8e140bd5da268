"""The quality of the engines on labelled clips: one network's mAP and d' on every runtime, beside torch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.runtime.engine import RUNTIMES, EngineError
from core.tagging import EMBEDDED_PAIR, load_tagger
from core.training.data import read_manifest
from core.training.evaluate import predict
from core.training.metrics import Quality, quality

FIRST = "torch"

NAMED = tuple(name for name in RUNTIMES if name != "auto")
"""Runtimes that are one engine."""


def precision(
    manifest: Path,
    audio: Path,
    folds: Sequence[str] = (),
    *,
    models: Sequence[str] = EMBEDDED_PAIR,
    runtimes: Sequence[str] = NAMED,
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Score networks on labelled clips with every runtime.

    Parameters
    ----------
    manifest, audio, folds : as ``pannscope evaluate`` takes them; all folds by default.
    models : names of the manifest, or checkpoint files.
    runtimes : those that cannot run here are skipped, with the reason; torch comes first, and the others are compared with it.

    Returns
    -------
    {"folds", "rows", "left_out"}, plain JSON. A row: model, runtime, clips, mAP, auc, d_prime, the largest and mean difference of a
    probability from torch's, and on how many clips the likeliest class is the same.

    Raises
    ------
    DataError, CheckpointError
        The clips or a model cannot be read.
    """
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for model in models:
        expected: np.ndarray | None = None
        for runtime in (FIRST, *(name for name in runtimes if name != FIRST)):
            on_progress(f"{model} on {runtime}")
            try:
                actual, scored = _predict(model, runtime, manifest, audio, folds)
            except EngineError as error:
                left_out[runtime] = str(error)
                continue
            expected = actual if expected is None else expected
            rows.append(
                {
                    "model": Path(model).stem,
                    "runtime": runtime,
                    "clips": scored.clips,
                    "mAP": scored.mean_average_precision,
                    "auc": scored.auc,
                    "d_prime": scored.d_prime,
                    "max_abs_difference": float(np.abs(actual - expected).max()),
                    "mean_abs_difference": float(np.abs(actual - expected).mean()),
                    "first_tag_kept": int((actual.argmax(axis=1) == expected.argmax(axis=1)).sum()),
                }
            )
    return {"folds": list(folds), "rows": rows, "left_out": left_out}


def _predict(
    model: str, runtime: str, manifest: Path, audio: Path, folds: Sequence[str]
) -> tuple[np.ndarray, Quality]:
    """Probabilities (clips, classes) of every clip of these folds, and their score."""
    file = Path(model) if Path(model).suffix else None
    tagger = load_tagger(None if file else model, checkpoint=file, runtime=runtime)
    clips = read_manifest(manifest, audio, tagger.classes)
    clips = clips.select(list(folds)) if folds else clips
    probabilities = predict(tagger, clips)
    return probabilities, quality(clips.targets, probabilities, tagger.classes)
