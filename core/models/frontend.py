"""The PANNs front end: waveform -> log-mel spectrogram, by FFT.

The reference (torchlibrosa, used by PANNs and E-PANNs) computes the short-time Fourier transform as two frozen Conv1d
layers with 1,050,624 weights. The same numbers come from an FFT in a seventh of the time and without the weights; only
the rounding differs. Parity with the reference is tested in ``tests/core/test_logmel.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FrontEnd:
    """What the PANNs networks were trained to listen to (audioset_tagging_cnn, ``pytorch/models.py`` and README).

    Attributes
    ----------
    sample_rate : Hz.
    n_fft, hop : samples of one window (periodic Hann) and between two of them; frames are centred with reflection.
    mel_bins, fmin, fmax : number of mel bands and their range in Hz (Slaney scale, area-normalised).
    amin : the smallest power that is told apart from silence; 10 log10(1e-10) = -100 dB is the floor.
    """

    sample_rate: int = 32_000
    n_fft: int = 1024
    hop: int = 320
    mel_bins: int = 64
    fmin: float = 50.0
    fmax: float = 14_000.0
    amin: float = 1e-10

    def frames(self, samples: int) -> int:
        """Frames that a waveform of ``samples`` samples gives: one a hop, and one more because frames are centred."""
        return samples // self.hop + 1

    @property
    def frozen_parameters(self) -> int:
        """Weights the reference keeps (frozen) for this front end: two Conv1d kernels and the mel matrix."""
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
"""Spectra of a longer waveform are made of so many frames at a time, a little over 10 s: those of 30 s would take 43 MB."""

# Slaney's Auditory Toolbox (1998): linear below 1 kHz (200/3 Hz a mel), logarithmic above (27 mels a factor of 6.4).
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: np.ndarray) -> np.ndarray:
    linear = hz / _LINEAR_HZ_PER_MEL
    logarithmic = _BREAK_HZ / _LINEAR_HZ_PER_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, linear, logarithmic)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    break_mel = _BREAK_HZ / _LINEAR_HZ_PER_MEL
    linear = mel * _LINEAR_HZ_PER_MEL
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, break_mel) - break_mel))
    return np.where(mel < break_mel, linear, logarithmic)


def mel_centres(front_end: FrontEnd = FRONT_END) -> np.ndarray:
    """Centre frequencies of the mel bands, (mel_bins,) in Hz."""
    edges = _hz_to_mel(np.array([front_end.fmin, front_end.fmax]))
    return _mel_to_hz(np.linspace(edges[0], edges[1], front_end.mel_bins + 2))[1:-1]


@lru_cache(maxsize=4)
def mel_matrix(front_end: FrontEnd = FRONT_END) -> np.ndarray:
    """Triangular mel filters with unit area, (n_fft // 2 + 1, mel_bins) float32.

    Equal to ``librosa.filters.mel`` with its defaults, transposed. Written out here because importing librosa costs
    130 MB and 0.7 s, which a tagger that has 690 MB to live in cannot spare; the tests compare the two.
    """
    edges = _hz_to_mel(np.array([front_end.fmin, front_end.fmax]))
    corners = _mel_to_hz(np.linspace(edges[0], edges[1], front_end.mel_bins + 2))
    bins = np.linspace(0.0, front_end.sample_rate / 2, front_end.n_fft // 2 + 1)
    slopes = corners[:, None] - bins[None, :]
    widths = np.diff(corners)[:, None]
    rising = -slopes[:-2] / widths[:-1]
    falling = slopes[2:] / widths[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    area = 2.0 / (corners[2:] - corners[:-2])
    matrix = np.ascontiguousarray((triangles * area[:, None]).T.astype(np.float32))
    matrix.flags.writeable = False
    return matrix


class LogMel(nn.Module):
    """Waveform (batch, samples) -> log-mel (batch, 1, frames, mel_bins) in dB, power reference 1.0.

    Its two buffers are not saved with a checkpoint: they follow from the ``FrontEnd``. They are built on the CPU even
    inside ``torch.device("meta")``, so that a network can be put up without memory and then given its weights.
    """

    window: Tensor
    mel: Tensor

    def __init__(self, front_end: FrontEnd = FRONT_END) -> None:
        super().__init__()
        self.front_end = front_end
        with torch.device("cpu"):
            self.register_buffer(
                "window", torch.hann_window(front_end.n_fft, periodic=True), persistent=False
            )
            self.register_buffer("mel", torch.tensor(mel_matrix(front_end)), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        frames = self.front_end.frames(waveform.shape[-1])
        if frames <= FRAMES_AT_ONCE:
            return self.decibels(self.power(waveform))
        margin, hop = self.front_end.n_fft // 2, self.front_end.hop
        padded = nn.functional.pad(waveform, (margin, margin), mode="reflect")
        edges = [*range(0, frames, FRAMES_AT_ONCE), frames]
        pieces = (padded[:, hop * first : hop * (last - 1) + 2 * margin] for first, last in pairwise(edges))
        return torch.cat([self.decibels(self._power(piece, centred=False)) for piece in pieces], dim=2)

    def power(self, waveform: Tensor) -> Tensor:
        """Power spectrogram: (batch, samples) -> (batch, frames, n_fft // 2 + 1)."""
        return self._power(waveform, centred=True)

    def _power(self, waveform: Tensor, *, centred: bool) -> Tensor:
        fe = self.front_end
        spectrum = torch.stft(
            waveform,
            fe.n_fft,
            fe.hop,
            window=self.window,
            center=centred,
            pad_mode="reflect",
            return_complex=True,
        )  # (batch, n_fft // 2 + 1, frames)
        return (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)

    def decibels(self, power: Tensor) -> Tensor:
        """Log-mel of a power spectrogram: (batch, frames, n_fft // 2 + 1) -> (batch, 1, frames, mel_bins) in dB."""
        mel = power @ self.mel
        return (10.0 * torch.log10(mel.clamp_(min=self.front_end.amin))).unsqueeze(1)


def log_mel(waveform: np.ndarray, front_end: FrontEnd = FRONT_END) -> np.ndarray:
    """Log-mel spectrogram of one waveform, for drawing: (samples,) float32 -> (frames, mel_bins) float32 in dB.

    A waveform shorter than half a window is padded with silence first, since reflection needs that many samples.
    """
    samples = np.asarray(waveform, dtype=np.float32)
    if len(samples) <= front_end.n_fft // 2:
        samples = np.pad(samples, (0, front_end.n_fft // 2 + 1 - len(samples)))
    with torch.inference_mode():
        return LogMel(front_end)(torch.from_numpy(samples.copy())[None])[0, 0].numpy()
