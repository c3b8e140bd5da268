"""Augmentation of the training clips, so that a network learns the sound and not the recording.

Two stages. ``WaveformAugmentation`` simulates on power spectrograms what another microphone, room and level do to a waveform: it is
ours, and prevents a network from learning a clip's origin instead of its sounds (from a data set whose speech was recorded at 16 kHz
it learns "nothing above 8 kHz means speech"). ``SpecAugment`` and ``Mixup`` apply to the normalised log-mel and are the published
recipe's (audioset_tagging_cnn, ``pytorch/models.py`` lines 163 and 193).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.models.frontend import FRONT_END, FrontEnd

_NOISE_FRAMES = 4096  # 41 s


@dataclass(frozen=True)
class WaveformAugmentationConfig:
    """How strong waveform augmentation is; probabilities are per clip.

    Attributes
    ----------
    shift : whether to shift a clip by a random offset (it wraps around).
    level_db : range of the random level change.
    low_pass : probability of a cutoff above a random frequency in ``low_pass_hz``.
    high_pass : probability of a cutoff below a random frequency in ``high_pass_hz``.
    tilt_db : largest gain or loss of a smooth random equaliser curve.
    reverb : probability of a room: energy decays over ``reverb_s`` (time to -60 dB), ``reverb_db`` below the direct sound.
    noise : probability of steady coloured noise at ``noise_db`` (signal-to-noise ratio), falling by up to
        ``noise_slope_db`` per octave.
    speed : largest change of pitch and tempo, as a share (0.1: 10% up or down).
    """

    shift: bool = True
    level_db: tuple[float, float] = (-24.0, 6.0)
    low_pass: float = 0.4
    low_pass_hz: tuple[float, float] = (3000.0, 14000.0)
    high_pass: float = 0.2
    high_pass_hz: tuple[float, float] = (60.0, 400.0)
    tilt_db: float = 4.0
    reverb: float = 0.25
    reverb_s: tuple[float, float] = (0.15, 0.6)
    reverb_db: tuple[float, float] = (0.0, 12.0)
    noise: float = 0.5
    noise_db: tuple[float, float] = (8.0, 40.0)
    noise_slope_db: float = 6.0
    speed: float = 0.1


class WaveformAugmentation:
    """Augments power spectrograms (batch, frames, bins) -> the same shape, each clip on its own."""

    def __init__(
        self,
        config: WaveformAugmentationConfig,
        generator: np.random.Generator,
        front_end: FrontEnd = FRONT_END,
    ) -> None:
        self.config = config
        self._generator = generator
        self._bins = front_end.n_fft // 2 + 1
        self._frame_s = front_end.hop / front_end.sample_rate
        self._hz = np.arange(self._bins) * (front_end.sample_rate / front_end.n_fft)
        # New noise for every clip would cost a fifth of a training step; a random stretch of one long field is enough.
        field = np.random.default_rng(0).standard_exponential((_NOISE_FRAMES, self._bins), dtype=np.float32)
        self._field = torch.from_numpy(field)

    def __call__(self, power: Tensor) -> Tensor:
        return torch.stack([self._augment(clip) for clip in power])

    def _augment(self, clip: Tensor) -> Tensor:
        config, rng = self.config, self._generator
        if config.shift:
            clip = clip.roll(int(rng.integers(len(clip))), 0)
        if config.speed > 0:
            clip = self._respeed(clip, float(np.exp(rng.uniform(-1, 1) * np.log1p(config.speed))))
        if rng.random() < config.reverb:
            clip = self._room(clip)
        clip = clip * torch.from_numpy(self._response().astype(np.float32))
        if rng.random() < config.noise:
            clip = clip + self._noise(clip)
        return clip * float(10 ** (rng.uniform(*config.level_db) / 10))

    def _respeed(self, clip: Tensor, speed: float) -> Tensor:
        """Play faster (``speed`` > 1): frequencies move up and the clip repeats sooner; nearest bin and frame."""
        frames = (torch.arange(len(clip)) * speed).round().long() % len(clip)
        bins = (torch.arange(self._bins) / speed).round().long()
        moved = clip[frames][:, bins.clamp(max=self._bins - 1)]
        moved[:, bins >= self._bins] = 0.0
        return moved

    def _response(self) -> np.ndarray:
        """Power response of a random microphone and channel, (bins,)."""
        config, rng, hz = self.config, self._generator, self._hz
        knots = rng.uniform(-config.tilt_db, config.tilt_db, 6)
        octaves = np.log2(np.maximum(hz, 50.0) / 50.0)
        decibels = np.interp(octaves, np.linspace(0, octaves[-1], len(knots)), knots)
        if rng.random() < config.low_pass:
            cutoff = np.exp(rng.uniform(*np.log(config.low_pass_hz)))
            # From a gentle microphone roll-off to the brick wall of a resampler or a codec.
            slope = np.exp(rng.uniform(np.log(12.0), np.log(600.0)))
            decibels -= np.minimum(slope * np.log2(np.maximum(hz / cutoff, 1.0)), 110.0)
        if rng.random() < config.high_pass:
            cutoff = np.exp(rng.uniform(*np.log(config.high_pass_hz)))
            decibels -= np.minimum(rng.uniform(6.0, 24.0) * np.log2(cutoff / np.clip(hz, 10.0, cutoff)), 60.0)
        return 10 ** (decibels / 10)

    def _room(self, clip: Tensor) -> Tensor:
        """Add an exponentially decaying tail to every bin (the late field of a room, as energy)."""
        rng, config = self._generator, self.config
        decay = 10 ** (-6.0 * self._frame_s / rng.uniform(*config.reverb_s))
        length = min(len(clip), max(2, int(np.ceil(np.log(1e-3) / np.log(decay)))))
        tail = decay ** np.arange(1, length + 1)
        tail *= 10 ** (-rng.uniform(*config.reverb_db) / 10) / tail.sum()
        size = len(clip) + length
        kernel = torch.fft.rfft(torch.from_numpy(np.concatenate([[0.0], tail]).astype(np.float32)), n=size)
        wet = torch.fft.irfft(torch.fft.rfft(clip, n=size, dim=0) * kernel[:, None], n=size, dim=0)[
            : len(clip)
        ]
        return clip + wet.clamp_(min=0.0)

    def _noise(self, clip: Tensor) -> Tensor:
        """Steady Gaussian noise: each bin's power is exponentially distributed around a sloping spectrum."""
        rng, config = self._generator, self.config
        slope = rng.uniform(0.0, config.noise_slope_db)
        shape = 10 ** (-slope * np.log2(np.maximum(self._hz, 50.0) / 50.0) / 10)
        if rng.random() < 0.3:  # noise that was itself recorded with a narrower band
            shape = shape * (self._hz < rng.uniform(4000.0, 14000.0))
        start = int(rng.integers(_NOISE_FRAMES))
        rows = (torch.arange(start, start + len(clip))) % _NOISE_FRAMES
        noise = self._field[rows].roll(int(rng.integers(self._bins)), 1)
        noise *= torch.from_numpy((shape / shape.sum()).astype(np.float32))
        # The level refers to the loud part of a clip: otherwise noise would mask a bark in silence.
        loud = float(np.quantile(clip.sum(1).numpy(), 0.9)) + 1e-9
        return noise * (loud * 10 ** (-rng.uniform(*config.noise_db) / 10))


class SpecAugment:
    """Mask two time and two frequency stripes of each spectrogram (Park et al. 2019, with the published widths).

    (batch, 1, frames, mel_bins) -> the same; a stripe's width is uniform in [0, width) and its content becomes 0.
    """

    WIDTHS = (64, 8)  # frames, mel bands
    STRIPES = 2

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def __call__(self, x: Tensor) -> Tensor:
        kept = torch.ones(x.shape, dtype=x.dtype)
        for mask in kept:
            for axis, width in zip((1, 2), self.WIDTHS, strict=True):
                size = mask.shape[axis]
                for _ in range(self.STRIPES):
                    length = int(self._generator.integers(min(width, size)))
                    start = int(self._generator.integers(size - length))
                    mask.narrow(axis, start, length).zero_()
        return x * kept


class Mixup:
    """Mix clips 2k and 2k + 1 of a batch by lambda ~ Beta(alpha, alpha) (Zhang et al. 2018).

    ``mix`` applies to spectrograms or targets, (2 batch, …) -> (batch, …), with the weights of the last ``draw``.
    """

    def __init__(self, generator: np.random.Generator, alpha: float = 1.0) -> None:
        self._generator = generator
        self._alpha = alpha
        self._weights = torch.ones(0)

    def draw(self, pairs: int) -> None:
        """Draw new weights for ``pairs`` pairs."""
        self._weights = torch.from_numpy(
            self._generator.beta(self._alpha, self._alpha, pairs).astype(np.float32)
        )

    def mix(self, x: Tensor) -> Tensor:
        """The mixture of each pair."""
        weight = self._weights.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        return x[0::2] * weight + x[1::2] * (1 - weight)
