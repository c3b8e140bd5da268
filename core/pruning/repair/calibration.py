"""What a repair listens to: clips cut into windows, and variants of these, so that a handful of clips goes further."""

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
"""No more audio than this is listened to, the same share of every clip: two networks' feature maps of it are held at a time
(at the full CNN14's C1 and C2, where they are largest, 2 x 16 MB for 10 s)."""

_LEVEL_DB = 10.0  # a second sound is mixed in up to this much fainter or louder
_TILT_DB = 6.0  # standard deviation of a variant's equaliser, at each of its knots
_KNOTS = 9  # evenly spaced over the mel bands
_FLOOR_DB = 10.0 * math.log10(FRONT_END.amin)


def calibration_windows(waveforms: Sequence[np.ndarray]) -> list[Tensor]:
    """Clips as windows of at most ``WINDOW_SECONDS``, together at most ``MAX_SECONDS``: every clip gives the same share.

    Raises ``PruningError`` where there is nothing to listen to, ``AudioError`` for what no network can.
    """
    clips = [validate_waveform(waveform) for waveform in waveforms]
    if not clips:
        raise PruningError("A repair needs clips to listen to; give at least one, better ten.")
    if all(np.abs(clip).max() <= SILENT_PEAK for clip in clips):
        raise PruningError(
            "All clips to repair on are silent, so there is nothing to learn from them; give recordings with sound."
        )
    longest = max(MIN_SAMPLES, round(_share([len(clip) for clip in clips], MAX_SECONDS * SAMPLE_RATE)))
    return [window for clip in clips for window in split_windows(clip[:longest], WINDOW_SECONDS)]


def _share(lengths: Sequence[int], budget: float) -> float:
    """The length that clips may have so that together they keep to the budget; short clips leave theirs to the others."""
    for rank, length in enumerate(sorted(lengths)):
        fair = budget / (len(lengths) - rank)
        if length > fair:
            return fair
        budget -= length
    return float(max(lengths))


def add_variants(logmels: Sequence[Tensor], windows: int) -> list[Tensor]:
    """Log-mels (1, 1, frames, mel_bins) in dB, supplemented until there are ``windows`` of them or ``MAX_SECONDS``.

    A variant is one window with another mixed in from a random moment on (their powers add up), heard through a random smooth
    equaliser: sounds that a network can well be given, made of those at hand. The same windows give the same variants.
    """
    draw = np.random.default_rng(0)
    found, turn = list(logmels), list[int]()
    room = MAX_SECONDS * FRONT_END.sample_rate / FRONT_END.hop - sum(logmel.shape[2] for logmel in logmels)
    while len(found) < windows:
        turn = turn or draw.permutation(len(logmels)).tolist()
        made = _variant(logmels[turn.pop()], logmels[int(draw.integers(len(logmels)))], draw)
        room -= made.shape[2]
        if room < 0:
            break
        found.append(made)
    return found


def _variant(first: Tensor, second: Tensor, draw: np.random.Generator) -> Tensor:
    frames, bands = first.shape[2:]
    second = second.repeat(1, 1, -(-frames // second.shape[2]), 1)
    second = second.roll(int(draw.integers(second.shape[2])), dims=2)[:, :, :frames]
    level = draw.uniform(-_LEVEL_DB, _LEVEL_DB)
    mixed = 10.0 * torch.log10(10.0 ** (first / 10.0) + 10.0 ** ((second + level) / 10.0))
    knots = torch.from_numpy(draw.normal(0.0, _TILT_DB, (1, 1, _KNOTS))).to(first.dtype)
    return (mixed + F.interpolate(knots, bands, mode="linear", align_corners=True)[:, :, None]).clamp_(
        _FLOOR_DB
    )
