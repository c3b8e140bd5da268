"""From a waveform of any length to the mean of a network's outputs over its windows: how every part of Pannscope runs a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from core.audio import SAMPLE_RATE, Clip
from core.errors import AudioError
from core.models.cnn import MIN_SAMPLES
from core.models.registry import architecture

WINDOW_SECONDS = 30.0
"""Longer waveforms are tagged in equal windows of at most this length: it bounds memory (a 30 s window of the full CNN14
takes about 190 MB) and keeps short events from being averaged away."""


EMBEDDING_SECONDS = 60.0
"""The same for embeddings, whose network pools over the whole of its input: the embedding of a minute is then the original's, which knows no windows."""


class Interface(Protocol):
    """What a network takes and returns; an ``Architecture`` of the registry has it, whose docstring has the attributes."""

    @property
    def title(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def least_samples(self) -> int: ...
    @property
    def window_samples(self) -> int | None: ...
    @property
    def output(self) -> str: ...
    @property
    def scenes(self) -> tuple[str, ...]: ...


_CNN14 = architecture("cnn14")


def least_samples(entry: Interface) -> int:
    """Samples at 32 kHz of the shortest waveform that an architecture takes: shorter ones are padded with silence."""
    return -(-entry.least_samples * SAMPLE_RATE // entry.sample_rate)


def clip_windows(
    samples: int, entry: Interface = _CNN14, longest_s: float = WINDOW_SECONDS
) -> list[tuple[int, int]]:
    """The windows of a clip of ``samples`` at 32 kHz for an architecture, start and end in samples.

    Equal windows of at most ``longest_s`` seconds. Of an architecture that takes one length alone windows of that length; what is left at the end is
    padded with silence where it is half a window or more, and left out where it is less.

    Examples
    --------
    >>> clip_windows(25 * 32_000, architecture("dcase2021-task1a"))
    [(0, 320000), (320000, 640000), (640000, 800000)]
    """
    if entry.window_samples is None:
        return windows(samples, longest_s)
    length = least_samples(entry)
    count = max(1, (samples + length // 2) // length)
    return [(start * length, min((start + 1) * length, max(samples, length))) for start in range(count)]


def fitted(waveform: np.ndarray, entry: Interface) -> Tensor:
    """One window as a network takes it: (samples,) at 32 kHz -> (1, samples) float32 at the architecture's rate.

    It is resampled (soxr, its HQ setting) and padded with silence to the shortest length, or to the only one, that the network takes.
    """
    samples = np.array(waveform, np.float32)
    if entry.sample_rate != SAMPLE_RATE:
        import soxr  # only networks of another rate need it

        samples = soxr.resample(samples, SAMPLE_RATE, entry.sample_rate, "HQ")
    if entry.window_samples is not None:
        samples = samples[: entry.window_samples]
    missing = entry.least_samples - len(samples)
    return torch.from_numpy(np.pad(samples, (0, missing)) if missing > 0 else samples)[None]


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


def validate_waveform(waveform: np.ndarray, least: int = MIN_SAMPLES) -> np.ndarray:
    """Check a caller's waveform and make it what the networks accept.

    Parameters
    ----------
    waveform : (samples,) array of float
        At 32 kHz, full scale at ±1.

    Returns
    -------
    (samples,) float32
        Padded with silence to at least ``least``.

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
    return samples if len(samples) >= least else np.pad(samples, (0, least - len(samples)))


def split_windows(waveform: np.ndarray, entry: Interface, longest_s: float = WINDOW_SECONDS) -> list[Tensor]:
    """A waveform's windows as a network takes them, (1, samples) float32 each; raises ``AudioError`` as ``validate_waveform``.

    Examples
    --------
    >>> [tuple(window.shape) for window in split_windows(np.zeros(35 * 32_000), architecture("cnn14-16k"))]
    [(1, 280000), (1, 280000)]
    """
    samples = validate_waveform(waveform, least_samples(entry))
    spans = clip_windows(len(samples), entry, longest_s)
    return [fitted(samples[start:end], entry) for start, end in spans]


def window_mean(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of a network's outputs over a clip's windows: arrays of one shape -> float32 of that shape, averaged in float64."""
    return np.asarray(np.mean(outputs, axis=0, dtype=np.float64), np.float32)


def mean_probabilities(
    network: Callable[[Tensor], Tensor], waveform: np.ndarray, entry: Interface = _CNN14
) -> np.ndarray:
    """Probabilities of one waveform of any length.

    Parameters
    ----------
    network : callable
        (1, samples) float32 -> (1, classes) probabilities.
    waveform : (samples,) array of float
        At 32 kHz. It is cut into ``clip_windows``, whose probabilities are averaged; each is resampled and padded as ``fitted`` does.
    entry : Interface
        The network's.

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
    samples = validate_waveform(waveform, least_samples(entry))
    parts = (samples[start:end] for start, end in clip_windows(len(samples), entry))
    return window_mean([network(fitted(part, entry))[0].numpy() for part in parts])


def input_notes(clip: Clip, entry: Interface) -> tuple[str, ...]:
    """What was done to a clip for an architecture, in sentences: it was resampled, padded, or cut into windows. Mostly nothing.

    Examples
    --------
    >>> from core.audio import encode_wav, load_clip
    >>> input_notes(load_clip(encode_wav(np.zeros(320_000)), name="x.wav"), architecture("cnn14-16k"))
    ('The clip was resampled to 16 kHz, the rate of CNN14 at 16 kHz.',)
    """
    rate = f"The clip was resampled to {entry.sample_rate / 1000:g} kHz, the rate of {entry.title}."
    resampled = (rate,) * (entry.sample_rate != SAMPLE_RATE)
    return *resampled, *length_notes(clip, entry)


def length_notes(clip: Clip, entry: Interface = _CNN14) -> tuple[str, ...]:
    """What a clip's length means for its tags, in sentences: that it is padded, or cut into windows. Mostly nothing.

    Examples
    --------
    >>> from core.audio import encode_wav, load_clip
    >>> length_notes(load_clip(encode_wav(np.zeros(3_200)), name="click.wav"))
    ('The clip is 0.10 s long; it was padded with silence to 0.31 s, the shortest input that the network accepts.',)
    """
    if clip.samples < least_samples(entry):
        which = "only" if entry.window_samples else "shortest"
        return (
            f"The clip is {clip.samples / SAMPLE_RATE:.2f} s long; it was padded with silence to "
            f"{least_samples(entry) / SAMPLE_RATE:.2f} s, the {which} input that the network accepts.",
        )
    spans = clip_windows(clip.samples, entry)
    if spans == [(0, clip.samples)]:
        return ()
    return (
        f"The clip is {clip.duration_s:.1f} s long; it was tagged in {len(spans)} window{'s' * (len(spans) > 1)} of "
        f"{(spans[0][1] - spans[0][0]) / SAMPLE_RATE:.1f} s and the probabilities were averaged{_end(clip, entry, spans[-1])}.",
    )


def _end(clip: Clip, entry: Interface, last: tuple[int, int]) -> str:
    """What became of the end of a clip that is cut into windows of one length, in words."""
    if entry.window_samples is None or (
        last[1] - last[0] == least_samples(entry) and last[1] >= clip.samples
    ):
        return ""
    if clip.samples > last[1]:
        return f"; the last {(clip.samples - last[1]) / SAMPLE_RATE:.1f} s were left out"
    return "; the last one was padded with silence"
