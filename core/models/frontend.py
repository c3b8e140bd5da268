"""The PANNs front end: waveform -> log-mel spectrogram, by FFT.

The reference (torchlibrosa, used by PANNs and E-PANNs) computes the short-time Fourier transform as two frozen Conv1d
layers with 1,050,624 weights. The same numbers come from an FFT in a seventh of the time and without the weights; only
the rounding differs, which ``tests/core/test_frontend.py`` bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from core.models.spectrum import power_spectrum


@dataclass(frozen=True)
class FrontEnd:
    """Settings of a log-mel front end; the defaults are the PANNs' (audioset_tagging_cnn, ``pytorch/models.py`` and README).

    Attributes
    ----------
    sample_rate : int
        Hz.
    n_fft, hop : int
        Samples of one window (periodic Hann) and between two of them; frames are centred, with reflection at the ends.
    mel_bins : int
        Number of mel bands.
    fmin, fmax : float
        The range of the bands in Hz.
    amin : float
        Power below it counts as silence: 10 log10(1e-10) = -100 dB is the smallest value.
    """

    sample_rate: int = 32_000
    n_fft: int = 1024
    hop: int = 320
    mel_bins: int = 64
    fmin: float = 50.0
    fmax: float = 14_000.0
    amin: float = 1e-10

    def frames(self, samples: int) -> int:
        """Frames of a waveform of ``samples`` samples: one a hop, and one more because frames are centred."""
        return samples // self.hop + 1

    @property
    def frozen_parameters(self) -> int:
        """Frozen weights of the reference for this front end: two Conv1d kernels and the mel matrix."""
        return self.stft_parameters + self.mel_parameters

    @property
    def stft_parameters(self) -> int:
        """Weights of the reference's two Conv1d layers (real and imaginary part), 2 x bins x window."""
        return 2 * (self.n_fft // 2 + 1) * self.n_fft

    @property
    def mel_parameters(self) -> int:
        """Entries of the mel matrix."""
        return (self.n_fft // 2 + 1) * self.mel_bins


FRONT_END = FrontEnd()

FRAMES_AT_ONCE = 1024
"""Frames whose spectra are computed at a time, a little over 10 s: those of 30 s would take 43 MB."""

_PUBLISHED_FILTERBANK = "mel_filterbank.npz"
"""In ``core/data``, written by ``scripts/write_mel_filterbank.py``: importing librosa costs 130 MB and a second."""


def librosa_filterbank(front_end: FrontEnd) -> tuple[np.ndarray, np.ndarray]:
    """Mel filters and centre frequencies by librosa, see ``mel_matrix`` and ``mel_centers``."""
    import librosa

    bands, fmin, fmax = front_end.mel_bins, front_end.fmin, front_end.fmax
    filters = librosa.filters.mel(
        sr=front_end.sample_rate, n_fft=front_end.n_fft, n_mels=bands, fmin=fmin, fmax=fmax
    )
    centers = librosa.mel_frequencies(bands + 2, fmin=fmin, fmax=fmax)[1:-1]
    return np.ascontiguousarray(filters.T), centers


@lru_cache(maxsize=8)
def _filterbank(front_end: FrontEnd) -> tuple[np.ndarray, np.ndarray]:
    if front_end == FRONT_END:
        file = resources.files("core").joinpath("data", _PUBLISHED_FILTERBANK)
        with file.open("rb") as stream, np.load(stream) as stored:
            arrays = stored["matrix"], stored["centers"]
    else:
        arrays = librosa_filterbank(front_end)
    for array in arrays:
        array.flags.writeable = False
    return arrays


def mel_matrix(front_end: FrontEnd = FRONT_END) -> np.ndarray:
    """Triangular mel filters (Slaney scale) of unit area, (n_fft // 2 + 1, mel_bins) float32, read-only.

    Those of ``librosa.filters.mel``: stored with the package for the published front end, computed for any other.

    Examples
    --------
    >>> from core.models.frontend import mel_matrix
    >>> matrix = mel_matrix()
    >>> matrix.shape, int(matrix[:, 0].argmax())  # the first band peaks at bin 3, 94 Hz
    ((513, 64), 3)
    """
    return _filterbank(front_end)[0]


def mel_centers() -> np.ndarray:
    """Centre frequencies of the published front end's mel bands, (mel_bins,) float64 in Hz."""
    return _filterbank(FRONT_END)[1]


_shapes_only = ContextVar("_shapes_only", default=False)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Inside the ``with`` block networks are built without memory: names and shapes alone, their front ends' filters included.

    Filters of another front end than the published one need librosa, which is 130 MB and a second.
    """
    token = _shapes_only.set(True)
    try:
        with torch.device("meta"):
            yield
    finally:
        _shapes_only.reset(token)


class MelModule(nn.Module):
    """A front end's window and mel matrix, as buffers.

    They are not saved with a checkpoint: they follow from the front end's settings. They are on the CPU even inside
    ``torch.device("meta")``, so that a network can be built without memory before its weights are loaded; a window is
    therefore made with ``device="cpu"``.

    Parameters
    ----------
    window : (window samples,) tensor
    shape : of the mel filters.
    filters : () -> the mel filters, which are copied; not called inside ``shapes_only``.
    """

    window: Tensor
    mel: Tensor

    def __init__(self, window: Tensor, shape: tuple[int, int], filters: Callable[[], np.ndarray]) -> None:
        super().__init__()
        bare = _shapes_only.get()
        mel = torch.empty(shape, device="meta") if bare else torch.from_numpy(filters().copy())
        self.register_buffer("window", window.to("meta") if bare else window, persistent=False)
        self.register_buffer("mel", mel, persistent=False)


class LogMel(MelModule):
    """Waveform (batch, samples) -> log-mel (batch, 1, frames, mel_bins) in dB, power reference 1.0.

    Examples
    --------
    >>> import torch
    >>> from core.models.frontend import LogMel
    >>> LogMel()(torch.zeros(1, 32_000)).shape
    torch.Size([1, 1, 101, 64])
    """

    def __init__(self, front_end: FrontEnd = FRONT_END) -> None:
        window = torch.hann_window(front_end.n_fft, periodic=True, device="cpu")
        shape = (front_end.n_fft // 2 + 1, front_end.mel_bins)
        super().__init__(window, shape, partial(mel_matrix, front_end))
        self.front_end = front_end

    def forward(self, waveform: Tensor) -> Tensor:
        frames = self.front_end.frames(waveform.shape[-1])
        if frames <= FRAMES_AT_ONCE:
            return self.decibels(self.power(waveform))
        margin, hop = self.front_end.n_fft // 2, self.front_end.hop
        padded = nn.functional.pad(waveform, (margin, margin), mode="reflect")
        edges = [*range(0, frames, FRAMES_AT_ONCE), frames]
        pieces = (padded[:, hop * first : hop * (last - 1) + 2 * margin] for first, last in pairwise(edges))
        return torch.cat([self.decibels(self._power(piece, centered=False)) for piece in pieces], dim=2)

    def power(self, waveform: Tensor) -> Tensor:
        """Power spectrogram: (batch, samples) -> (batch, frames, n_fft // 2 + 1)."""
        return self._power(waveform, centered=True)

    def _power(self, waveform: Tensor, *, centered: bool) -> Tensor:
        fe = self.front_end
        return power_spectrum(waveform, self.window, fe.n_fft, fe.hop, centered=centered).transpose(1, 2)

    def decibels(self, power: Tensor) -> Tensor:
        """Log-mel of a power spectrogram: (batch, frames, n_fft // 2 + 1) -> (batch, 1, frames, mel_bins) in dB."""
        mel = power @ self.mel
        return (10.0 * torch.log10(mel.clamp_(min=self.front_end.amin))).unsqueeze(1)


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram of one waveform, for drawing: (samples,) float32 -> (frames, mel_bins) float32 in dB.

    A waveform of half a window or less is padded with zeros, because reflection needs more samples than that.
    """
    samples = np.asarray(waveform, dtype=np.float32)
    if len(samples) <= FRONT_END.n_fft // 2:
        samples = np.pad(samples, (0, FRONT_END.n_fft // 2 + 1 - len(samples)))
    with torch.inference_mode():
        return LogMel()(torch.from_numpy(samples.copy())[None])[0, 0].numpy()
