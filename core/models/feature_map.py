"""What one filter of a CNN14 makes of a sound: its feature map over time and frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import ModelError
from core.models.cnn import LAYERS, MIN_SAMPLES, Cnn14
from core.models.frontend import FRONT_END


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """One filter's response to a clip, after batch norm and ReLU and before any pooling.

    Attributes
    ----------
    values : (frames, bands) float32, at least 0; band 0 is the lowest.
    pooled : how many spectrogram frames, and how many mel bands, one value stands for: 1, 2, 4 … 32.
    """

    values: np.ndarray
    pooled: int

    @property
    def frame_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.pooled * FRONT_END.hop / FRONT_END.sample_rate

    @property
    def first_frame_s(self) -> float:
        """The middle of the first frame in seconds: the mean of the spectrogram frames that it stands for."""
        return (self.pooled - 1) / 2 * FRONT_END.hop / FRONT_END.sample_rate

    @property
    def first_band(self) -> float:
        """The middle of the lowest band, counted in mel bands; the next one is ``pooled`` mel bands higher."""
        return (self.pooled - 1) / 2


def layer_input(model: Cnn14, layer: str, waveform: np.ndarray) -> Tensor:
    """What a layer listens to: the network is run up to it.

    Parameters
    ----------
    waveform : (samples,) float32 at 32 kHz; under 0.31 s it is padded with silence to what the network needs. Memory grows
        with its length: 30 s before C2 of the full CNN14 are 49 MB.

    Returns
    -------
    (1, input channels, frames, bands). Raises ``ModelError`` for a layer that CNN14 does not have.
    """
    if layer not in LAYERS:
        raise ModelError(f"CNN14 has no layer {layer!r}; its convolutions are C1 to C12.")
    samples = np.pad(waveform, (0, max(0, MIN_SAMPLES - len(waveform)))).astype(np.float32)
    with torch.inference_mode():
        x = model.normalize(model.front_end(torch.from_numpy(samples)[None]))
        for name in LAYERS[: LAYERS.index(layer)]:
            x = model.layer(name, x)
    return x


def feature_map(model: Cnn14, layer: str, index: int, heard: Tensor) -> FeatureMap:
    """The map of one filter from what its layer hears (``layer_input``); the layer's other filters are not computed.

    Raises ``ModelError`` for a filter that the layer does not have.
    """
    convolution, norm = model.convolution(layer), model.batch_norm(layer)
    if not 0 <= index < len(convolution.weight):
        raise ModelError(
            f"{layer} has no filter {index}; its filters are 0 to {len(convolution.weight) - 1}."
        )
    one = slice(index, index + 1)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.inference_mode():
        x = F.conv2d(heard, convolution.weight[one], padding=convolution.padding)
        x = F.batch_norm(
            x,
            norm.running_mean[one],
            norm.running_var[one],
            norm.weight[one],
            norm.bias[one],
            training=False,
            eps=norm.eps,
        )
        values = F.relu_(x)[0, 0].numpy()
    return FeatureMap(values, FRONT_END.mel_bins // heard.shape[3])
