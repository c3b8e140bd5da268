"""The baseline network of DCASE 2021 Task 1A: ten acoustic scenes, and the network that similarity pruning was shown on.

Martin-Morato et al., "Low-complexity acoustic scene classification for multi-device audio: analysis of DCASE 2021 Challenge
systems" (DCASE 2021; arXiv 2105.13734). It classifies scenes, one per clip: its output is a softmax, and it is no tagger.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.frontend import MelModule
from core.models.network import Network
from core.models.spectrum import power_spectrum

SAMPLE_RATE = 44_100
WINDOW_SAMPLES = 10 * SAMPLE_RATE
"""The only length that the network accepts: its last layers take 500 frames as a whole."""

SCENES = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
"""The classes of TAU Urban Acoustic Scenes, as its metadata name them."""

_FRAMES, _BANDS = 500, 40
_N_FFT, _WINDOW, _HOP = 2048, 1764, 882  # windows of 40 ms, one every 20 ms
_FLOOR = float(np.finfo(np.float64).eps)  # added before the logarithm
_POOLS = ((5, 5), (4, 100))
_DROPOUT = 0.3


class Dcase2021(Network):
    """Waveform of 10 s at 44.1 kHz -> logits of ten scenes; probabilities are their softmax.

    Examples
    --------
    >>> Dcase2021(10).eval().probabilities(torch.zeros(1, 441_000)).sum().round(decimals=3)
    tensor(1.)
    """

    output_layers = ("dense2",)
    time_axis = 3
    embedding_layer = "dense2"

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.front_end = LogMelMagnitude()
        self.conv1 = nn.Conv2d(1, 16, 7, padding=3)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 7, padding=3)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16, 32, 7, padding=3)
        self.bn3 = nn.BatchNorm2d(32)
        self.dense1 = nn.Linear(64, 100)
        self.dense2 = nn.Linear(100, classes)

    def feature_maps(self, inputs: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(inputs)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.dropout(F.max_pool2d(x, _POOLS[0]), _DROPOUT, self.training)
        x = F.relu(self.bn3(self.conv3(x)))
        return F.dropout(F.max_pool2d(x, _POOLS[1]), _DROPOUT, self.training)

    def embed(self, maps: Tensor) -> Tensor:
        return F.relu(self.dense1(maps.flatten(1)))

    def classify(self, embedding: Tensor) -> Tensor:
        return self.dense2(F.dropout(embedding, _DROPOUT, self.training))

    def activate(self, logits: Tensor) -> Tensor:
        """Scenes exclude each other: a softmax."""
        return torch.softmax(logits, dim=1)


class LogMelMagnitude(MelModule):
    """Waveform (batch, samples) -> natural logarithm of mel-weighted magnitudes (batch, 1, bands, 500 frames)."""

    def __init__(self) -> None:
        # The baseline's "hamming_asymmetric" is the periodic window.
        window = torch.hamming_window(_WINDOW, periodic=True, device="cpu")
        super().__init__(window, (_BANDS, _N_FFT // 2 + 1), _mel_matrix)

    def forward(self, waveform: Tensor) -> Tensor:
        power = power_spectrum(waveform, self.window, _N_FFT, _HOP)[:, :, :_FRAMES]
        return torch.log(self.mel @ power.sqrt() + _FLOOR).unsqueeze(1)


@lru_cache(maxsize=1)
def _mel_matrix() -> np.ndarray:
    """Triangles of height 1 on Slaney's mel scale, (bands, n_fft // 2 + 1) float32, from 0 to 22,050 Hz."""
    import librosa  # 130 MB and a second, which only this network needs

    return librosa.filters.mel(
        sr=SAMPLE_RATE, n_fft=_N_FFT, n_mels=_BANDS, fmin=0.0, fmax=SAMPLE_RATE / 2, htk=False, norm=None
    )
