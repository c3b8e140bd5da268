"""What an engine loses on labelled clips: the same network's mAP and d' on every runtime, beside torch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError
from core.runtime.engine import RUNTIMES, EngineError
from core.tagging import EMBEDDED_PAIR, load_tagger
from core.training.data import read_manifest
from core.training.evaluate import predict
from core.training.metrics import Quality, d_prime, quality

FIRST = "torch"

NAMED = tuple(name for name in RUNTIMES if name != "auto")
"""Runtimes that are one engine."""

FOLD = "{fold}"
"""In a model's name stands for each fold in turn: the network that was trained without it, heard on it."""


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
    models : names of the manifest, or checkpoint files; with ``{fold}`` in it a file for each of ``folds``.
    runtimes : those that cannot run here are left out, and why is told; torch comes first and is what the others are compared with.

    Returns
    -------
    {"folds", "rows", "left_out"}, plain JSON. A row: model, held_out (whether it is a network a fold), runtime, clips, mAP, auc and
    d_prime (of networks a fold, the means over folds, and d' of that mean AUC), the largest and mean difference of a probability from
    torch's, and on how many clips the likeliest class is the same.

    Raises
    ------
    DataError, CheckpointError
        The clips or a model cannot be read.
    """
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for model in models:
        if FOLD in model and not folds:
            raise DataError(f"{model} is a network a fold; say which folds.")
        parts = (
            [(model.replace(FOLD, fold), (fold,)) for fold in folds] if FOLD in model else [(model, folds)]
        )
        wanted: np.ndarray | None = None
        for runtime in (FIRST, *(name for name in runtimes if name != FIRST)):
            on_progress(f"{model} on {runtime}")
            try:
                heard = [_heard(name, runtime, manifest, audio, of) for name, of in parts]
            except EngineError as error:
                left_out[runtime] = str(error)
                continue
            found = np.concatenate([probabilities for probabilities, _ in heard])
            wanted = found if wanted is None else wanted
            rows.append(
                {"model": Path(model).stem, "held_out": FOLD in model, "runtime": runtime}
                | _scores([scored for _, scored in heard])
                | {
                    "max_abs_difference": float(np.abs(found - wanted).max()),
                    "mean_abs_difference": float(np.abs(found - wanted).mean()),
                    "first_tag_kept": int((found.argmax(axis=1) == wanted.argmax(axis=1)).sum()),
                }
            )
    return {"folds": list(folds), "rows": rows, "left_out": left_out}


def _heard(
    model: str, runtime: str, manifest: Path, audio: Path, folds: Sequence[str]
) -> tuple[np.ndarray, Quality]:
    """Probabilities (clips, classes) of every clip of these folds, and their score."""
    file = Path(model) if Path(model).suffix else None
    tagger = load_tagger(None if file else model, checkpoint=file, runtime=runtime)
    clips = read_manifest(manifest, audio, tagger.classes)
    clips = clips.select(list(folds)) if folds else clips
    found = predict(tagger, clips)
    return found, quality(clips.targets, found, tagger.classes)


def _scores(scored: Sequence[Quality]) -> dict[str, Any]:
    aucs = [each.auc for each in scored if each.auc is not None]
    auc = float(np.mean(aucs)) if aucs else None
    return {
        "clips": sum(each.clips for each in scored),
        "mAP": float(np.mean([each.mean_average_precision for each in scored])),
        "auc": auc,
        "d_prime": d_prime(auc),
    }
