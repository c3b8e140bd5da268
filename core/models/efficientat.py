"""EfficientAT's MobileNets: CNN14's quality at a two-hundredth of its multiplications.

Schmid, Koutini, Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge distillation" (ICASSP 2023; arXiv
2211.04772). MobileNetV3-Large at a width multiplier, on Kaldi mel bands of the pre-emphasized waveform.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from core.models.frontend import MelModule
from core.models.network import Network
from core.models.spectrum import power_spectrum

SAMPLE_RATE = 32_000
MIN_SAMPLES = 1_025
"""Shortest waveform: a window of samples after the pre-emphasis, which takes one."""

_N_FFT, _WINDOW, _HOP, _BANDS = 1024, 800, 320, 128
_HIGHEST_HZ = 15_000.0
_PREEMPHASIS = 0.97
_FLOOR, _SHIFT, _SCALE = 1e-5, 4.5, 5.0  # log(mel + 1e-5), then (x + 4.5) / 5


class _Block(NamedTuple):
    """An inverted residual block before the width multiplier; ``squeeze`` is squeeze-excitation."""

    kernel: int
    expanded: int
    outputs: int
    squeeze: bool
    activation: type[nn.Module]
    stride: int


_FIRST = 16
_BLOCKS = tuple(
    _Block(kernel, expanded, outputs, squeeze, activation, stride)
    for kernel, expanded, outputs, squeeze, activation, stride in (
        (3, 16, 16, False, nn.ReLU, 1),
        (3, 64, 24, False, nn.ReLU, 2),
        (3, 72, 24, False, nn.ReLU, 1),
        (5, 72, 40, True, nn.ReLU, 2),
        (5, 120, 40, True, nn.ReLU, 1),
        (5, 120, 40, True, nn.ReLU, 1),
        (3, 240, 80, False, nn.Hardswish, 2),
        (3, 200, 80, False, nn.Hardswish, 1),
        (3, 184, 80, False, nn.Hardswish, 1),
        (3, 184, 80, False, nn.Hardswish, 1),
        (3, 480, 112, True, nn.Hardswish, 1),
        (3, 672, 112, True, nn.Hardswish, 1),
        (5, 672, 160, True, nn.Hardswish, 2),
        (5, 960, 160, True, nn.Hardswish, 1),
        (5, 960, 160, True, nn.Hardswish, 1),
    )
)
"""MobileNetV3-Large."""

_LAST_EXPANSION = 6
_HIDDEN = 1280
_DROPOUT = 0.2


class EfficientAt(Network):
    """mn04, mn05, mn10 …: MobileNetV3-Large with its widths multiplied by ``width``; embeddings are the pooled maps.

    Examples
    --------
    >>> EfficientAt(0.4, classes=3).eval().probabilities(torch.zeros(1, 32_000)).shape
    torch.Size([1, 3])
    """

    output_layers = ("classifier.5",)
    time_axis = 3
    embedding_layer = "classifier.2"

    def __init__(self, width: float, classes: int) -> None:
        super().__init__()
        self.front_end = PreemphasizedMel()
        inputs = _multiple_of_8(_FIRST * width)
        layers: list[nn.Module] = [_convolution(1, inputs, kernel=3, stride=2, activation=nn.Hardswish)]
        for block in _BLOCKS:
            outputs = _multiple_of_8(block.outputs * width)
            layers.append(InvertedResidual(inputs, _multiple_of_8(block.expanded * width), outputs, block))
            inputs = outputs
        last = _LAST_EXPANSION * inputs
        layers.append(_convolution(inputs, last, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        hidden = _multiple_of_8(_HIDDEN * width)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(last, hidden),
            nn.Hardswish(),
            nn.Dropout(_DROPOUT),
            nn.Linear(hidden, classes),
        )

    def feature_maps(self, inputs: Tensor) -> Tensor:
        return self.features(inputs)

    def embed(self, maps: Tensor) -> Tensor:
        return self.classifier[1](self.classifier[0](maps))

    def classify(self, embedding: Tensor) -> Tensor:
        for layer in islice(self.classifier, 2, None):
            embedding = layer(embedding)
        return embedding


class InvertedResidual(nn.Module):
    """Expansion (none where it would not widen), depthwise convolution, squeeze-excitation, projection; a sum where no shape changes."""

    def __init__(self, inputs: int, expanded: int, outputs: int, block: _Block) -> None:
        super().__init__()
        self.residual = block.stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(_convolution(inputs, expanded, activation=block.activation))
        depthwise = _convolution(
            expanded,
            expanded,
            kernel=block.kernel,
            stride=block.stride,
            groups=expanded,
            activation=block.activation,
        )
        layers.append(depthwise)
        if block.squeeze:
            layers.append(ConcurrentSqueezeExcitation(expanded))
        layers.append(_convolution(expanded, outputs))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out = self.block(x)
        return out + x if self.residual else out


class ConcurrentSqueezeExcitation(nn.Module):
    """Squeeze-excitations in the originals' list; the published networks have one, over channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([SqueezeExcitation(channels)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.conc_se_layers:
            x = layer(x)
        return x


class SqueezeExcitation(nn.Module):
    """Each channel times a factor from 0 to 1 that depends on all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _multiple_of_8(channels // 4)
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3))))))
        return x * scale[:, :, None, None]


class PreemphasizedMel(MelModule):
    """Waveform (batch, samples) -> log mel energies (batch, 1, bands, frames), about -1 to 1."""

    def __init__(self) -> None:
        window = torch.hann_window(_WINDOW, periodic=False, device="cpu")
        super().__init__(window, (_BANDS, _N_FFT // 2 + 1), kaldi_mel_matrix)

    def forward(self, waveform: Tensor) -> Tensor:
        emphasized = waveform[:, 1:] - _PREEMPHASIS * waveform[:, :-1]
        mel = self.mel @ power_spectrum(emphasized, self.window, _N_FFT, _HOP)
        return ((torch.log(mel + _FLOOR) + _SHIFT) / _SCALE).unsqueeze(1)


@lru_cache(maxsize=1)
def kaldi_mel_matrix() -> np.ndarray:
    """Kaldi's mel filters, (bands, n_fft // 2 + 1) float32: triangles of height 1 on the mel axis from 0 to 15,000 Hz."""
    edges = np.linspace(0.0, _mel(_HIGHEST_HZ), _BANDS + 2)
    lower, center, upper = (edges[start : start + _BANDS, None] for start in range(3))
    bins = _mel(np.arange(_N_FFT // 2) * SAMPLE_RATE / _N_FFT)
    triangles = np.minimum((bins - lower) / (center - lower), (upper - bins) / (upper - center))
    # The bin at the Nyquist frequency has no weight.
    return np.pad(np.maximum(0.0, triangles), ((0, 0), (0, 1))).astype(np.float32)


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0)


def _convolution(
    inputs: int,
    outputs: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
    return nn.Sequential(convolution, norm, *([] if activation is None else [activation()]))


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and never below 90% of ``channels``."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
