"""From a waveform of any length to the mean of a network's outputs over its windows: how every part of Pannscope runs a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from core.audio import SAMPLE_RATE, Clip
from core.errors import AudioError
from core.models.cnn import MIN_SAMPLES

WINDOW_SECONDS = 30.0
"""Longer waveforms are tagged in equal windows of at most this length: it bounds memory (a 30 s window of the full CNN14
takes about 190 MB) and keeps short events from being averaged away."""


def windows(samples: int, longest_s: float = WINDOW_SECONDS) -> list[tuple[int, int]]:
    """Cut a waveform into the fewest equal windows of at most ``longest_s`` seconds.

    Returns
    -------
    list of (int, int)
        Start and end of every window in samples, in order and without gaps.

    Examples
    --------
    >>> windows(45 * 32_000)
    [(0, 720000), (720000, 1440000)]
    """
    count = max(1, -(-samples // round(longest_s * SAMPLE_RATE)))
    edges = [round(samples * edge / count) for edge in range(count + 1)]
    return list(pairwise(edges))


def validate_waveform(waveform: np.ndarray) -> np.ndarray:
    """Check a caller's waveform and make it what the networks accept.

    Parameters
    ----------
    waveform : (samples,) array of float
        At 32 kHz, full scale at ±1.

    Returns
    -------
    (samples,) float32
        Padded with silence to at least ``MIN_SAMPLES``.

    Raises
    ------
    AudioError
        The samples are integers (their full scale would be taken for 32,768 times ours), NaN or infinite; the array is empty
        or has more than one dimension.

    Examples
    --------
    >>> validate_waveform(np.zeros(100)).shape
    (9920,)
    """
    array = np.asarray(waveform)
    if array.dtype.kind != "f":
        raise AudioError(
            f"A waveform's samples are floating-point numbers, full scale at ±1; got {array.dtype}. "
            "Convert them first (16-bit integers: divide by 32,768)."
        )
    if array.ndim != 1 or len(array) == 0:
        raise AudioError(f"A waveform is one row of samples at 32 kHz; got an array of shape {array.shape}.")
    with np.errstate(over="ignore"):
        samples = array.astype(np.float32, copy=False)
    if not np.isfinite(samples).all():
        raise AudioError("The waveform has NaN or infinite samples; check where they come from.")
    return samples if len(samples) >= MIN_SAMPLES else np.pad(samples, (0, MIN_SAMPLES - len(samples)))


def split_windows(waveform: np.ndarray, longest_s: float = WINDOW_SECONDS) -> list[Tensor]:
    """A waveform's windows as a network takes them, (1, samples) float32 each; raises ``AudioError`` as ``validate_waveform``.

    Examples
    --------
    >>> [tuple(window.shape) for window in split_windows(np.zeros(35 * 32_000))]
    [(1, 560000), (1, 560000)]
    """
    samples = validate_waveform(waveform)
    return [
        torch.from_numpy(np.array(samples[start:end]))[None]
        for start, end in windows(len(samples), longest_s)
    ]


def window_mean(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of a network's outputs over a clip's windows: arrays of one shape -> float32 of that shape, averaged in float64."""
    return np.asarray(np.mean(outputs, axis=0, dtype=np.float64), np.float32)


def mean_probabilities(network: Callable[[Tensor], Tensor], waveform: np.ndarray) -> np.ndarray:
    """Probabilities of one waveform of any length.

    Parameters
    ----------
    network : callable
        (1, samples) float32 -> (1, classes) probabilities.
    waveform : (samples,) array of float
        At 32 kHz. Under 0.31 s it is padded with silence to what the network needs; over 30 s the probabilities of its equal
        windows are averaged.

    Returns
    -------
    (classes,) float32

    Raises
    ------
    AudioError
        As ``validate_waveform``.

    Examples
    --------
    >>> loudest = lambda batch: batch.amax(dim=1, keepdim=True)
    >>> mean_probabilities(loudest, np.repeat([0.25, 0.75], 20 * 32_000))
    array([0.5], dtype=float32)
    """
    return window_mean([network(window)[0].numpy() for window in split_windows(waveform)])


def length_notes(clip: Clip) -> tuple[str, ...]:
    """What a clip's length means for its tags, in sentences: that it is padded, or cut into windows. Mostly nothing.

    Examples
    --------
    >>> from core.audio import encode_wav, load_clip
    >>> length_notes(load_clip(encode_wav(np.zeros(3_200)), name="click.wav"))
    ('The clip is 0.10 s long; it was padded with silence to 0.31 s, the shortest input that the network accepts.',)
    """
    if clip.samples < MIN_SAMPLES:
        return (
            f"The clip is {clip.samples / SAMPLE_RATE:.2f} s long; it was padded with silence to "
            f"{MIN_SAMPLES / SAMPLE_RATE:.2f} s, the shortest input that the network accepts.",
        )
    spans = windows(clip.samples)
    if len(spans) == 1:
        return ()
    return (
        f"The clip is {clip.duration_s:.1f} s long; it was tagged in {len(spans)} windows of "
        f"{(spans[0][1] - spans[0][0]) / SAMPLE_RATE:.1f} s and the probabilities were averaged.",
    )
