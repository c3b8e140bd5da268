"""Building blocks of the examples: coloured noise, envelopes, mixing, reverberation, fades."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from core.audio import SAMPLE_RATE

Samples = npt.NDArray[np.float64]
FADE_SECONDS = 0.02
PEAK = 0.8  # full scale is 1


def seconds(duration_s: float) -> Samples:
    """Time of every sample in s, from 0: (samples,)."""
    return np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE


def noise(rng: np.random.Generator, samples: int, gain: Callable[[Samples], Samples]) -> Samples:
    """Gaussian noise of unit power whose spectrum follows ``gain`` (Hz -> amplitude): (samples,)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    shaped = np.fft.irfft(
        spectrum * gain(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE).astype(np.float64)), samples
    )
    return shaped / np.sqrt(np.mean(shaped**2))


def band(low_hz: float, high_hz: float, order: int = 2) -> Callable[[Samples], Samples]:
    """A band-pass gain: flat between two corner frequencies, falling by 6 dB an octave times the order outside them."""

    def gain(frequency: Samples) -> Samples:
        ratio_low = (low_hz / np.maximum(frequency, 1e-3)) ** (2 * order)
        return 1 / np.sqrt((1 + ratio_low) * (1 + (frequency / high_hz) ** (2 * order)))

    return gain


def random_curve(rng: np.random.Generator, samples: int, rate_hz: float) -> Samples:
    """A smooth random curve between 0 and 1 that changes about ``rate_hz`` times a second: (samples,)."""
    knots = rng.random(int(samples / SAMPLE_RATE * rate_hz) + 3)
    position = np.arange(samples) / SAMPLE_RATE * rate_hz  # in knots
    left = position.astype(int)
    ease = 0.5 - 0.5 * np.cos(np.pi * (position - left))
    return knots[left] * (1 - ease) + knots[left + 1] * ease


def gate(time: Samples, start_s: float, end_s: float, ramp_s: float = 0.005) -> Samples:
    """1 from begin to end and 0 elsewhere, with raised-cosine ramps against clicks: (samples,)."""
    rise = np.clip((time - start_s) / ramp_s, 0, 1)
    fall = np.clip((end_s - time) / ramp_s, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall))


def add(target: Samples, sound: Samples, at_s: float, level: float) -> None:
    """Mix a sound into a longer one, in place, from ``at_s`` on; what exceeds the end is dropped."""
    start = round(at_s * SAMPLE_RATE)
    length = max(0, min(len(sound), len(target) - start))
    target[start : start + length] += level * sound[:length]


def reverberate(rng: np.random.Generator, dry: Samples, decay_s: float, wet: float) -> Samples:
    """Convolve a sound with an impulse response of decaying noise, whose high frequencies decay faster.

    Parameters
    ----------
    dry : (samples,)
    decay_s : float
        Reverberation time (RT60): seconds to fall by 60 dB.
    wet : float
        Energy of the impulse response's tail relative to the direct sound's.
    """
    time = seconds(1.2 * decay_s)
    bright = noise(rng, len(time), band(200, 6_000, 1)) * 10 ** (-3 * time / (0.5 * decay_s))
    dull = noise(rng, len(time), band(100, 1_500, 1)) * 10 ** (-3 * time / decay_s)
    tail = (bright + 0.7 * dull) * np.minimum(1, time / 0.004)
    tail *= np.sqrt(wet / np.sum(tail**2))
    size = 1 << (len(dry) + len(tail) - 1).bit_length()
    reflected = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(tail, size), size)
    return dry + reflected[: len(dry)]


def finish(
    sound: Samples, peak: float = PEAK, fade_in_s: float = FADE_SECONDS, fade_out_s: float = 0.25
) -> Samples:
    """Remove the mean, fade both ends, and scale to a peak."""
    time = np.arange(len(sound)) / SAMPLE_RATE
    end_s = len(sound) / SAMPLE_RATE
    envelope = np.sin(np.pi / 2 * np.clip(time / fade_in_s, 0, 1)) ** 2
    envelope *= np.sin(np.pi / 2 * np.clip((end_s - time) / fade_out_s, 0, 1)) ** 2
    faded = (sound - sound.mean()) * envelope
    faded -= envelope * (faded.sum() / envelope.sum())  # the fades must not bring a mean back
    return faded * (peak / np.abs(faded).max())
