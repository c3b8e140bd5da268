"""What an engine loses on labelled clips: the same network's mAP and d' on every runtime, beside torch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.audio import load_clip
from core.errors import DataError
from core.runtime import RUNTIMES, EngineError
from core.tagging import EMBEDDED_PAIR, Tagger, load_tagger
from core.training.data import LabelledClips, read_manifest
from core.training.metrics import quality

FIRST = "torch"

NAMED = tuple(name for name in RUNTIMES if name != "auto")
"""Runtimes that are one engine."""


def precision(
    manifest: Path,
    audio: Path,
    folds: Sequence[str] = (),
    models: Sequence[str] = EMBEDDED_PAIR,
    runtimes: Sequence[str] = NAMED,
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Score networks on labelled clips with every runtime.

    Parameters
    ----------
    manifest, audio, folds : as ``pannscope evaluate`` takes them; all folds by default.
    models : names of the manifest, or checkpoint files.
    runtimes : those that cannot run here are left out, and why is told; torch comes first and is what the others are compared with.

    Returns
    -------
    {"folds", "rows", "left_out"}, plain JSON. A row: model, runtime, clips, classes, mAP, auc, d_prime, the largest and mean difference
    of a probability from torch's, and on how many clips the likeliest class is the same.

    Raises
    ------
    DataError, CheckpointError
        The clips or a model cannot be read.
    """
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for model in models:
        wanted: np.ndarray | None = None
        for runtime in (FIRST, *(name for name in runtimes if name != FIRST)):
            on_progress(f"{model} on {runtime}")
            is_file = Path(model).suffix != ""
            tagger = load_tagger(
                None if is_file else model, checkpoint=Path(model) if is_file else None, runtime=runtime
            )
            clips = read_manifest(manifest, audio, tagger.classes)
            clips = clips.select(list(folds)) if folds else clips
            try:
                found = _heard(tagger, clips)
            except EngineError as error:
                left_out[runtime] = str(error)
                continue
            wanted = found if wanted is None else wanted
            scored = quality(clips.targets, found, tagger.classes).document()
            rows.append(
                {
                    "model": Path(model).stem,
                    "runtime": runtime,
                    **{name: scored[name] for name in ("clips", "classes", "mAP", "auc", "d_prime")},
                    "max_abs_difference": float(np.abs(found - wanted).max()),
                    "mean_abs_difference": float(np.abs(found - wanted).mean()),
                    "first_tag_kept": int((found.argmax(axis=1) == wanted.argmax(axis=1)).sum()),
                }
            )
    return {"folds": list(folds), "rows": rows, "left_out": left_out}


def _heard(tagger: Tagger, clips: LabelledClips) -> np.ndarray:
    """Probabilities (clips, classes), each clip tagged whole."""
    if not len(clips):
        raise DataError("There is no labelled clip to score; give other folds.")
    return np.stack([tagger.probabilities(load_clip(path).waveform) for path in clips.paths])
