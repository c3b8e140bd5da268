"""Variants of calibration windows: one window with another mixed in at a random offset, filtered by a random smooth equaliser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.models.frontend import FrontEnd

_LEVEL_DB = 10.0  # a second window is mixed in up to this much quieter or louder
_TILT_DB = 6.0  # standard deviation of a variant's equaliser, at each of its knots
_KNOTS = 9  # evenly spaced over the mel bands


class Sounds(Protocol):
    """How two sounds are added, and one is filtered."""

    axis: int
    """Time."""

    def mixed(self, first: Tensor, second: Tensor, level_db: float, knots_db: Tensor) -> Tensor:
        """The sum of two sounds of one shape, the second one at another level, through an equaliser (1, 1, knots) of gains."""
        ...


class LogMels:
    """Log-mels (1, 1, frames, mel_bins) in dB, whose powers add up."""

    axis = 2

    def __init__(self, front_end: FrontEnd) -> None:
        self._floor_db = 10.0 * math.log10(front_end.amin)

    def mixed(self, first: Tensor, second: Tensor, level_db: float, knots_db: Tensor) -> Tensor:
        power = 10.0 ** (first / 10.0) + 10.0 ** ((second + level_db) / 10.0)
        gains = F.interpolate(knots_db, first.shape[3], mode="linear", align_corners=True)
        return (10.0 * torch.log10(power) + gains[:, :, None]).clamp_(self._floor_db)


class Waveforms:
    """Waveforms (1, samples), for networks without a log-mel in dB; the equaliser's knots are evenly spaced over the mel scale."""

    axis = 1

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate

    def mixed(self, first: Tensor, second: Tensor, level_db: float, knots_db: Tensor) -> Tensor:
        samples = first.shape[1]
        spectrum = torch.fft.rfft(first + 10.0 ** (level_db / 20.0) * second)
        mel = np.log1p(
            np.fft.rfftfreq(samples, 1.0 / self._sample_rate) / 700.0
        )  # up to a factor, the mel scale
        knots = np.linspace(0.0, mel[-1], knots_db.shape[-1])
        gains = 10.0 ** (np.interp(mel, knots, knots_db[0, 0].double().numpy()) / 20.0)
        return torch.fft.irfft(spectrum * torch.from_numpy(gains.astype(np.float32)), samples)


def add_variants(
    sounds: Sequence[Tensor], count: int, longest: float, kind: Sounds
) -> list[tuple[Tensor, int]]:
    """Windows supplemented with variants until there are ``count`` of them, or ``longest`` frames or samples in all.

    The same windows give the same variants.

    Returns
    -------
    list of (Tensor, int)
        Each sound, and the number of the window that has its length.
    """
    rng = np.random.default_rng(0)
    result, order = [(sound, index) for index, sound in enumerate(sounds)], list[int]()
    room = longest - sum(sound.shape[kind.axis] for sound in sounds)
    while len(result) < count:
        order = order or rng.permutation(len(sounds)).tolist()
        index = order.pop()
        first, second = sounds[index], sounds[int(rng.integers(len(sounds)))]
        room -= first.shape[kind.axis]
        if room < 0:
            break
        result.append((_variant(first, second, kind, rng), index))
    return result


def _variant(first: Tensor, second: Tensor, kind: Sounds, rng: np.random.Generator) -> Tensor:
    length = first.shape[kind.axis]
    second = torch.cat([second] * -(-length // second.shape[kind.axis]), dim=kind.axis)
    second = second.roll(int(rng.integers(second.shape[kind.axis])), dims=kind.axis).narrow(
        kind.axis, 0, length
    )
    level = rng.uniform(-_LEVEL_DB, _LEVEL_DB)
    knots = torch.from_numpy(rng.normal(0.0, _TILT_DB, (1, 1, _KNOTS))).to(first.dtype)
    return kind.mixed(first, second, level, knots)
