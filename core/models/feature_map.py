"""The feature map of one filter of a CNN14, over time and frequency."""

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
    values : (frames, bands) float32
        At least 0; band 0 is the lowest.
    pooled : int
        How many spectrogram frames, and how many mel bands, one value covers: 1, 2, 4 … 32.
    """

    values: np.ndarray
    pooled: int

    @property
    def frame_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.pooled * FRONT_END.hop / FRONT_END.sample_rate

    @property
    def first_frame_s(self) -> float:
        """Centre of the first frame in seconds: the mean of the spectrogram frames that it covers."""
        return (self.pooled - 1) / 2 * FRONT_END.hop / FRONT_END.sample_rate

    @property
    def first_band(self) -> float:
        """Centre of the lowest band, in mel bands; the next one is ``pooled`` mel bands higher."""
        return (self.pooled - 1) / 2


def layer_input(model: Cnn14, layer: str, waveform: np.ndarray) -> Tensor:
    """A layer's input: the network runs up to it.

    Parameters
    ----------
    model : Cnn14
        The network.
    layer : str
        C1..C12.
    waveform : (samples,) float32
        At 32 kHz; under 0.31 s it is padded with silence to what the network needs. Memory grows with its length: 30 s before C2
        of the full CNN14 are 49 MB.

    Returns
    -------
    (1, input channels, frames, bands) Tensor

    Raises
    ------
    ModelError
        CNN14 has no such layer.
    """
    if layer not in LAYERS:
        raise ModelError(f"CNN14 has no layer {layer!r}; its convolutions are C1 to C12.")
    samples = np.pad(waveform, (0, max(0, MIN_SAMPLES - len(waveform)))).astype(np.float32)
    with torch.inference_mode():
        x = model.normalize(model.front_end(torch.from_numpy(samples)[None]))
        for name in LAYERS[: LAYERS.index(layer)]:
            x = model.layer(name, x)
    return x


def feature_map(model: Cnn14, layer: str, index: int, inputs: Tensor) -> FeatureMap:
    """The feature map of one filter from its layer's input (``layer_input``); the layer's other filters are not computed.

    Raises ``ModelError`` if the layer has no such filter.

    Examples
    --------
    >>> from core.models.cnn import Cnn14Config
    >>> model = Cnn14(Cnn14Config((2,) * 12, classes=1, embedding=2)).eval()
    >>> feature_map(model, "C3", 0, layer_input(model, "C3", np.zeros(32_000, np.float32))).values.shape
    (50, 32)
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
        x = F.conv2d(inputs, convolution.weight[one], padding=convolution.padding)
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
    return FeatureMap(values, FRONT_END.mel_bins // inputs.shape[3])
