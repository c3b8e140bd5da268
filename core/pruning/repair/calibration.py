"""Calibration clips of a repair: cut into windows, and supplemented with variants of these, so that a few clips suffice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.audio import SAMPLE_RATE, SILENT_PEAK
from core.errors import PruningError
from core.models.cnn import MIN_SAMPLES
from core.models.frontend import FRONT_END
from core.windows import split_windows, validate_waveform

WINDOW_SECONDS = 10.0
"""Clips are cut into equal windows of at most this length, AudioSet's: it bounds memory."""

MAX_SECONDS = 120.0
"""Most audio that is used, shared equally among the clips: two networks' feature maps of it are in memory at once
(2 x 16 MB for 10 s at the full CNN14's C1 and C2, where they are largest)."""

_LEVEL_DB = 10.0  # a second window is mixed in up to this much quieter or louder
_TILT_DB = 6.0  # standard deviation of a variant's equalizer, at each of its knots
_KNOTS = 9  # evenly spaced over the mel bands
_FLOOR_DB = 10.0 * math.log10(FRONT_END.amin)


def calibration_windows(waveforms: Sequence[np.ndarray]) -> list[Tensor]:
    """Cut clips into windows of at most ``WINDOW_SECONDS``, together at most ``MAX_SECONDS``, shared equally among the clips.

    Parameters
    ----------
    waveforms : sequence of (samples,) array of float
        Clips at 32 kHz.

    Returns
    -------
    list of (1, samples) float32 Tensor

    Raises
    ------
    PruningError
        There are no clips, or all of them are silent.
    AudioError
        As ``core.windows.validate_waveform``.
    """
    clips = [validate_waveform(waveform) for waveform in waveforms]
    if not clips:
        raise PruningError("A repair needs calibration clips; give at least one, better ten.")
    if all(np.abs(clip).max() <= SILENT_PEAK for clip in clips):
        raise PruningError(
            "All calibration clips are silent, so nothing can be fitted to them; give recordings with sound."
        )
    longest = max(MIN_SAMPLES, round(_share([len(clip) for clip in clips], MAX_SECONDS * SAMPLE_RATE)))
    return [window for clip in clips for window in split_windows(clip[:longest], WINDOW_SECONDS)]


def _share(lengths: Sequence[int], budget: float) -> float:
    """The longest length of a clip so that all of them fit into the budget; short clips leave theirs to the others."""
    for rank, length in enumerate(sorted(lengths)):
        fair = budget / (len(lengths) - rank)
        if length > fair:
            return fair
        budget -= length
    return float(max(lengths))


def add_variants(logmels: Sequence[Tensor], windows: int) -> list[Tensor]:
    """Log-mels (1, 1, frames, mel_bins) in dB, supplemented until there are ``windows`` of them or ``MAX_SECONDS``.

    A variant is one window with another mixed in at a random offset (their powers add up), filtered by a random smooth equalizer.
    The same windows give the same variants.
    """
    rng = np.random.default_rng(0)
    result, order = list(logmels), list[int]()
    room = MAX_SECONDS * FRONT_END.sample_rate / FRONT_END.hop - sum(logmel.shape[2] for logmel in logmels)
    while len(result) < windows:
        order = order or rng.permutation(len(logmels)).tolist()
        variant = _variant(logmels[order.pop()], logmels[int(rng.integers(len(logmels)))], rng)
        room -= variant.shape[2]
        if room < 0:
            break
        result.append(variant)
    return result


def _variant(first: Tensor, second: Tensor, rng: np.random.Generator) -> Tensor:
    frames, bands = first.shape[2:]
    second = second.repeat(1, 1, -(-frames // second.shape[2]), 1)
    second = second.roll(int(rng.integers(second.shape[2])), dims=2)[:, :, :frames]
    level = rng.uniform(-_LEVEL_DB, _LEVEL_DB)
    mixed = 10.0 * torch.log10(10.0 ** (first / 10.0) + 10.0 ** ((second + level) / 10.0))
    knots = torch.from_numpy(rng.normal(0.0, _TILT_DB, (1, 1, _KNOTS))).to(first.dtype)
    return (mixed + F.interpolate(knots, bands, mode="linear", align_corners=True)[:, :, None]).clamp_(
        _FLOOR_DB
    )
