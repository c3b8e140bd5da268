"""What a student and its teacher are given: random mixtures of recordings, as if at other levels, in other rooms, behind noise.

All of it is computed in batches on one device from one generator, so that a step is determined by its seed. Rooms, band limits
and noise are applied in the frequency domain, as circular convolutions of the whole window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.audio import SAMPLE_RATE
from core.errors import DataError
from core.training.recordings import Recordings

_FULL_SCALE = 32_767
_OCTAVE_FROM_HZ = 50.0
_QUIET = 1e-9  # power below which a window counts as silence


@dataclass(frozen=True)
class MixtureConfig:
    """How strong augmentation is; probabilities are per window, levels in decibels, ranges uniform.

    Attributes
    ----------
    recordings : probabilities of one, two and three recordings in a window.
    difference_db : level of the second and third relative to the first.
    gain_db : change of the level of the whole.
    repeat : probability that a recording shorter than the window is repeated, instead of once at a random position in silence.
    speed : largest change of pitch and tempo of a whole batch, as a share.
    low_pass, low_pass_hz : probability and range of a cutoff; ``slope_db`` per octave beyond it.
    high_pass, high_pass_hz : likewise, 12 dB per octave.
    tilt_db : largest gain or loss of a random equaliser curve.
    reverb, reverb_s, reverb_db : probability of a room, its time to -60 dB, and the direct sound's level above it.
    noise, noise_db, noise_slope_db : probability of steady noise, the signal's level above it, and its fall per octave.
    """

    recordings: tuple[float, float, float] = (0.4, 0.4, 0.2)
    difference_db: tuple[float, float] = (-15.0, 5.0)
    gain_db: tuple[float, float] = (-18.0, 6.0)
    repeat: float = 0.5
    speed: float = 0.1
    low_pass: float = 0.3
    low_pass_hz: tuple[float, float] = (2500.0, 14000.0)
    slope_db: tuple[float, float] = (12.0, 240.0)
    high_pass: float = 0.15
    high_pass_hz: tuple[float, float] = (60.0, 400.0)
    tilt_db: float = 4.0
    reverb: float = 0.35
    reverb_s: tuple[float, float] = (0.1, 0.9)
    reverb_db: tuple[float, float] = (-3.0, 15.0)
    noise: float = 0.4
    noise_db: tuple[float, float] = (5.0, 40.0)
    noise_slope_db: tuple[float, float] = (0.0, 6.0)


LIGHT = MixtureConfig(
    recordings=(0.5, 0.5, 0.0),
    difference_db=(-10.0, 10.0),
    gain_db=(-12.0, 6.0),
    speed=0.0,
    low_pass=0.0,
    high_pass=0.0,
    tilt_db=6.0,
    reverb=0.0,
    noise=0.0,
)
"""Recordings as they are, or two of them, at another level and through a mild equaliser: what repair's variants are."""

_NAMED = {"full": MixtureConfig(), "light": LIGHT}


def named_mixtures(name: str) -> MixtureConfig:
    """The augmentation of a name, "full" or "light"; raises ``DataError`` for any other.

    Examples
    --------
    >>> named_mixtures("light").noise
    0.0
    """
    if name not in _NAMED:
        raise DataError(f"--mixtures is one of {', '.join(_NAMED)}; got {name!r}.")
    return _NAMED[name]


@dataclass(frozen=True)
class Batch:
    """Windows, and what labels say of them.

    Attributes
    ----------
    waveforms : (batch, samples) float32 at 32 kHz
    labels : (batch, 527) float32
        1 where a recording in the window is labelled with the class and is not more than ``AUDIBLE_DB`` below the loudest.
    known : (batch, 527) bool
        Where ``labels`` is to be believed: all of the window's recordings are labelled, or the class is there.
    """

    waveforms: Tensor
    labels: Tensor
    known: Tensor


AUDIBLE_DB = 10.0
"""A recording whose level is further below the loudest one's may be masked: its labels are neither there nor absent."""


class Mixer:
    """Draws batches of windows from recordings.

    Parameters
    ----------
    recordings : on the device that batches are made on.
    weights : (recordings,) how often each is drawn, relative to the others.
    config : the augmentation.
    """

    def __init__(self, recordings: Recordings, weights: Tensor, config: MixtureConfig) -> None:
        self.recordings = recordings
        self.config = config
        self._weights = weights.to(recordings.starts.device)
        # A class that no recording is labelled with is unknown everywhere.
        self._classes = recordings.labels.any(dim=0)

    def batch(self, size: int, samples: int, generator: torch.Generator) -> Batch:
        """``size`` windows of ``samples`` samples; ``generator`` is on the recordings' device."""
        draw = _Draw(generator, size)
        most = max(number for number, share in enumerate(self.config.recordings, 1) if share > 0)
        rows = torch.multinomial(self._weights, most * size, replacement=True, generator=generator)
        rows = rows.view(size, most)
        present = self._present(draw)[:, :most]
        sources, share = self._cut(rows, samples, draw)
        level = sources.square().mean(-1) / share  # of the part that the recording fills
        relative = draw.uniform(self.config.difference_db, (size, most))
        relative[:, 0] = 0.0
        wanted = level[:, :1] * 10 ** (relative / 10)
        gain = torch.where(present & (level > _QUIET), (wanted / level.clamp(min=_QUIET)).sqrt(), 0.0)
        gain[:, 0] = 1.0
        audible = present & (
            relative >= relative.masked_fill(~present, -torch.inf).amax(1, True) - AUDIBLE_DB
        )
        mixed = self.channel((sources * gain[..., None]).sum(1), draw)
        return Batch(mixed, *self._labels(rows, present, audible))

    def channel(self, waveforms: Tensor, draw: _Draw) -> Tensor:
        """Room, microphone, noise and level on (batch, samples), whose peaks stay within full scale."""
        config = self.config
        samples = waveforms.shape[1]
        power = waveforms.square().mean(1, keepdim=True)
        spectrum = torch.fft.rfft(waveforms)
        hertz = torch.linspace(0, SAMPLE_RATE / 2, spectrum.shape[1], device=waveforms.device)
        if config.reverb > 0:
            spectrum = spectrum * torch.where(draw.chance(config.reverb), self._room(samples, draw), 1.0)
        spectrum = spectrum * 10 ** (self._response(hertz, draw) / 20)
        out = torch.fft.irfft(spectrum, n=samples)
        if config.noise > 0:
            octaves = (hertz.clamp(min=_OCTAVE_FROM_HZ) / _OCTAVE_FROM_HZ).log2()
            shape = 10 ** (-draw.uniform(config.noise_slope_db) * octaves / 20)
            noise = torch.fft.rfft(draw.normal((len(waveforms), samples))) * shape
            steady = torch.fft.irfft(noise, n=samples)
            steady = steady * (power / steady.square().mean(1, keepdim=True).clamp(min=_QUIET)).sqrt()
            steady = steady * 10 ** (-draw.uniform(config.noise_db) / 20)
            out = out + torch.where(draw.chance(config.noise), steady, 0.0)
        out = out * 10 ** (draw.uniform(config.gain_db) / 20)
        return out / out.abs().amax(1, keepdim=True).clamp(min=1.0)

    def _present(self, draw: _Draw) -> Tensor:
        one, two, _ = self.config.recordings
        number = draw.uniform((0.0, 1.0))
        return torch.cat(
            [torch.ones_like(number, dtype=torch.bool), number >= one, number >= one + two], dim=1
        )

    def _cut(self, rows: Tensor, samples: int, draw: _Draw) -> tuple[Tensor, Tensor]:
        """(batch, n) rows -> (batch, n, samples), and the share of the window that each fills: (batch, n).

        A random part of each recording, at a speed that the whole batch shares.
        """
        recordings, config = self.recordings, self.config
        speed = float(draw.uniform((-1.0, 1.0), (1,))) * config.speed
        taken = max(1, round(samples * (1 + speed) / 3200)) * 3200 if speed else samples
        lengths = recordings.lengths[rows]
        spare = (lengths - taken).clamp(min=0)  # of those longer than the window
        room = (taken - lengths).clamp(min=0)  # of those shorter
        start = (draw.uniform((0.0, 1.0), rows.shape) * (spare + room + 1)).long()
        position = torch.arange(taken, device=rows.device) + torch.where(room > 0, -start, start)[..., None]
        repeats = draw.uniform((0.0, 1.0), rows.shape) < config.repeat
        inside = (position >= 0) & (position < lengths[..., None])
        keep = inside | repeats[..., None]
        position = position.remainder(lengths[..., None]) + recordings.starts[rows][..., None]
        waveforms = recordings.samples[position].float() * keep / _FULL_SCALE
        return resample(waveforms, samples), keep.float().mean(-1)

    def _response(self, hertz: Tensor, draw: _Draw) -> Tensor:
        """A random microphone's gain in dB, (batch, frequencies)."""
        config = self.config
        octaves = (hertz.clamp(min=_OCTAVE_FROM_HZ) / _OCTAVE_FROM_HZ).log2()
        knots = draw.uniform((-config.tilt_db, config.tilt_db), (draw.size, 6))
        place = octaves / octaves[-1] * (knots.shape[1] - 1)
        below = place.floor().long().clamp(max=knots.shape[1] - 2)
        share = place - below
        gain = knots[:, below] * (1 - share) + knots[:, below + 1] * share
        low, high = draw.logarithmic(config.low_pass_hz), draw.logarithmic(config.high_pass_hz)
        slope = draw.logarithmic(config.slope_db)
        falling = slope * (hertz / low).clamp(min=1.0).log2()
        rising = 12.0 * (high / hertz.clamp(min=10.0)).clamp(min=1.0).log2()
        gain = gain - torch.where(draw.chance(config.low_pass), falling, 0.0)
        gain = gain - torch.where(draw.chance(config.high_pass), rising, 0.0)
        return gain.clamp(min=-110.0)

    def _room(self, samples: int, draw: _Draw) -> Tensor:
        """Spectra of rooms' responses, (batch, frequencies): the direct sound, and noise that decays exponentially."""
        config = self.config
        length = min(samples, round(config.reverb_s[1] * SAMPLE_RATE))
        seconds = torch.arange(length, device=draw.device) / SAMPLE_RATE
        tail = draw.normal((draw.size, length)) * 10 ** (-3.0 * seconds / draw.uniform(config.reverb_s))
        energy = tail.square().sum(1, keepdim=True)
        tail = tail * (10 ** (-draw.uniform(config.reverb_db) / 10) / energy).sqrt()
        tail[:, 0] += 1.0
        return torch.fft.rfft(tail, n=samples)

    def _labels(self, rows: Tensor, present: Tensor, audible: Tensor) -> tuple[Tensor, Tensor]:
        recordings = self.recordings
        carried = recordings.labels[rows]
        labels = (carried * audible[..., None]).amax(1)
        all_labelled = (recordings.labelled[rows] | ~present).all(1, keepdim=True)
        masked = (carried * (present & ~audible)[..., None]).amax(1) > 0
        known = (labels > 0) | (all_labelled & ~masked & self._classes)
        return labels, known


class _Draw:
    """Random numbers of one batch."""

    def __init__(self, generator: torch.Generator, size: int) -> None:
        self.generator = generator
        self.device = generator.device
        self.size = size

    def uniform(self, bounds: tuple[float, float], shape: tuple[int, ...] | None = None) -> Tensor:
        """Uniform in [low, high), (batch, 1) by default."""
        low, high = bounds
        values = torch.rand(shape or (self.size, 1), generator=self.generator, device=self.device)
        return low + (high - low) * values

    def logarithmic(self, bounds: tuple[float, float]) -> Tensor:
        """As ``uniform``, but of the logarithm."""
        low, high = torch.tensor(bounds).log().tolist()
        return self.uniform((low, high)).exp()

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Normal, of mean 0 and deviation 1."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def chance(self, probability: float) -> Tensor:
        """(batch, 1) bool."""
        return self.uniform((0.0, 1.0)) < probability


def resample(waveforms: Tensor, samples: int) -> Tensor:
    """Waveforms (…, old samples) -> (…, samples) that last as long, without what lies above either Nyquist frequency.

    The window is taken for one period of a periodic signal.

    Examples
    --------
    >>> import math
    >>> wave = torch.sin(torch.arange(320) * 2 * math.pi * 5 / 320)[None]
    >>> half = torch.sin(torch.arange(160) * 2 * math.pi * 5 / 160)[None]
    >>> torch.allclose(resample(wave, 160), half, atol=1e-5)
    True
    """
    before = waveforms.shape[-1]
    if samples == before:
        return waveforms
    spectrum = torch.fft.rfft(waveforms)[..., : samples // 2 + 1]
    return torch.fft.irfft(spectrum, n=samples) * (samples / before)
