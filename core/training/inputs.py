"""What a network in training computes on: power spectrograms, which are augmented, or the output of its own front end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.audio import MAX_SECONDS, SAMPLE_RATE
from core.errors import DataError
from core.models.frontend import LogMel
from core.models.registry import Architecture, architecture
from core.training.data import LabelledClips
from core.windows import least_samples

CACHE_MB = 2048.0
"""How much of a training set is kept in memory: half an hour and more of spectrograms."""

_CNN14 = architecture("cnn14")


def window_samples(seconds: float, entry: Architecture) -> int:
    """Samples at 32 kHz of a training window; raises ``DataError`` for one that the architecture cannot take."""
    least = least_samples(entry) / SAMPLE_RATE
    if entry.window_samples is not None and round(seconds * entry.sample_rate) != entry.window_samples:
        raise DataError(
            f"Training cannot use windows of {seconds:g} s; {entry.title} takes {least:g} s and no other length."
        )
    if not least <= seconds <= MAX_SECONDS:
        raise DataError(
            f"Training cannot use windows of {seconds:g} s; give {least:.2f} to {MAX_SECONDS:g} s."
        )
    return round(seconds * SAMPLE_RATE)


class Spectrograms:
    """Power spectrograms of a set of clips, all of one length, decoded once and kept as long as memory allows.

    A clip shorter than ``seconds`` is padded with silence, a longer one is truncated. Spectrograms are kept in
    half precision as decibels (rounded by at most 0.03 dB): 0.5 MB for 5 s.

    Parameters
    ----------
    clips, seconds : the recordings, and the length of the window.
    entry, front_end : of the network, whose front end is a log-mel.
    cache_mb : how much is kept.
    """

    def __init__(
        self,
        clips: LabelledClips,
        seconds: float = 5.0,
        entry: Architecture = _CNN14,
        *,
        front_end: LogMel | None = None,
        cache_mb: float = CACHE_MB,
    ) -> None:
        self.clips = clips
        self.samples = window_samples(seconds, entry)
        self._entry = entry
        self._front_end = front_end or LogMel()
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        settings = self._front_end.front_end
        frames = settings.frames(self.samples * settings.sample_rate // SAMPLE_RATE)
        self._room = max(1, int(cache_mb * 1e6 / (frames * (settings.n_fft // 2 + 1) * 2)))

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Power spectrograms (batch, frames, n_fft // 2 + 1) float32 of the clips at ``indices``."""
        return (
            torch.stack([self._decibels(index) for index in indices]).float().mul_(0.1 * np.log(10.0)).exp_()
        )

    def _decibels(self, index: int) -> Tensor:
        kept = self._kept.get(index)
        if kept is None:
            with torch.no_grad():
                power = self._front_end.power(self.clips.window(index, self.samples, self._entry))[0]
                kept = power.clamp_(min=1e-12).log10_().mul_(10.0).half()
            self._kept[index] = kept
            if len(self._kept) > self._room:
                self._kept.popitem(last=False)
        return kept


class FrontEndOutputs:
    """What a network's front end, which learns nothing, returns for a set of clips; kept as long as memory allows.

    Windows are those of ``Spectrograms``.
    """

    def __init__(
        self,
        clips: LabelledClips,
        seconds: float,
        entry: Architecture,
        front_end: nn.Module,
    ) -> None:
        self.clips = clips
        self.samples = window_samples(seconds, entry)
        self._entry = entry
        self._front_end = front_end
        self._kept: OrderedDict[int, tuple[Tensor, ...]] = OrderedDict()

    def batch(self, indices: Sequence[int]) -> Any:
        """The front end's output for the clips at ``indices``: a tensor, or the tuple of them that it returns."""
        parts = tuple(torch.cat(same) for same in zip(*map(self._outputs, indices), strict=True))
        return parts if len(parts) > 1 else parts[0]

    def _outputs(self, index: int) -> tuple[Tensor, ...]:
        kept = self._kept.get(index)
        if kept is None:
            with torch.no_grad():
                output = self._front_end(self.clips.window(index, self.samples, self._entry))
            kept = self._kept[index] = output if isinstance(output, tuple) else (output,)
            if len(self._kept) * sum(part.nbytes for part in kept) > 1e6 * CACHE_MB:
                self._kept.popitem(last=False)
        return kept
