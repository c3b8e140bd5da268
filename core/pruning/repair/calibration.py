"""Calibration clips of a repair: cut into windows, and supplemented with variants of these, so that a few clips suffice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from core.audio import SAMPLE_RATE, SILENT_PEAK
from core.errors import PruningError
from core.models.frontend import LogMel
from core.models.network import Network
from core.models.registry import architecture
from core.models.trace import trace
from core.pruning.repair.variants import LogMels, Waveforms, add_variants
from core.windows import split_windows, validate_waveform

WINDOW_SECONDS = 10.0
"""Clips are cut into equal windows of at most this length, AudioSet's: it bounds memory."""

MAX_SECONDS = 120.0
"""Most audio that is used, shared equally among the clips: two networks' feature maps of it are in memory at once
(2 x 16 MB for 10 s at the full CNN14's C1 and C2, where they are largest)."""

_MAX_BYTES = 200e6
"""Less is used where a network's feature maps are larger than CNN14's, so that those of all windows stay below this: ERANN-1-6's 30 s."""


@dataclass(frozen=True, eq=False)
class Window:
    """What the front end makes of a window, and how many samples it had."""

    inputs: Any
    samples: int


def calibration_windows(model: Network, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
    """Cut clips into windows of at most ``WINDOW_SECONDS``, together at most ``longest(model)``, shared equally among the clips.

    Parameters
    ----------
    model : Network
        The unpruned network, whose rate the windows have.
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
    clips = [validate_waveform(waveform, 1) for waveform in waveforms]
    if not clips:
        raise PruningError("A repair needs calibration clips; give at least one, better ten.")
    if all(np.abs(clip).max() <= SILENT_PEAK for clip in clips):
        raise PruningError(
            "All calibration clips are silent, so nothing can be fitted to them; give recordings with sound."
        )
    share = _share([len(clip) for clip in clips], longest(model) * SAMPLE_RATE)
    samples, entry = max(1, round(share)), architecture(model.architecture)
    return [window for clip in clips for window in split_windows(clip[:samples], entry, WINDOW_SECONDS)]


def prepared(model: Network, windows: Sequence[Tensor], count: int) -> list[Window]:
    """The windows through the front end, supplemented with variants until there are ``count`` of them, or as much audio as is used."""
    rate = architecture(model.architecture).sample_rate
    front_end = model.front_end
    if isinstance(front_end, LogMel):
        sounds, kind = [front_end(window) for window in windows], LogMels(front_end.front_end)
        of = add_variants(sounds, count, longest(model) * rate / front_end.front_end.hop, kind)
        return [Window(sound, windows[first].shape[1]) for sound, first in of]
    of = add_variants(windows, count, longest(model) * rate, Waveforms(rate))
    return [Window(front_end(sound), sound.shape[1]) for sound, _ in of]


def longest(model: Network) -> float:
    """Seconds of audio that a repair uses at most."""
    entry = architecture(model.architecture)
    samples = entry.window_samples or round(WINDOW_SECONDS * entry.sample_rate)
    steps = trace(model, samples)
    sizes: dict[int, int] = {}
    most = 0
    for step, freed in zip(steps.steps, steps.freed, strict=True):
        sizes[step.output] = 0 if step.alias else 4 * prod(step.shape)
        for value in freed:
            sizes.pop(value, None)
        most = max(most, sum(sizes.values()))
    return float(min(MAX_SECONDS, _MAX_BYTES / most * samples / entry.sample_rate))


def _share(lengths: Sequence[int], budget: float) -> float:
    """The longest length of a clip so that all of them fit into the budget; short clips leave theirs to the others."""
    for rank, length in enumerate(sorted(lengths)):
        fair = budget / (len(lengths) - rank)
        if length > fair:
            return fair
        budget -= length
    return float(max(lengths))
