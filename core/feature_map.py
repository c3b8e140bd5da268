"""The feature map of one filter, over time and frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoints import architecture_of
from core.errors import ModelError
from core.models.frontend import FRONT_END, FrontEnd
from core.models.groups import check_prunable
from core.models.network import Network
from core.models.registry import architecture
from core.models.trace import start_values, trace
from core.windows import fitted


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """One filter's response to a clip, after batch norm and ReLU and before any pooling.

    Attributes
    ----------
    values : (frames, bands) float32
        At least 0; band 0 is the lowest. One band where the network has no frequencies, as those on the waveform have none.
    frame_s : float
        Seconds from one frame to the next.
    first_frame_s : float
        Centre of the first frame in seconds: the mean of the spectrogram frames that it covers.
    mel_bands : float or None
        How many of the spectrogram's 64 mel bands (``FRONT_END``) one band covers; None where the bands are not those.
    """

    values: np.ndarray
    frame_s: float
    first_frame_s: float
    mel_bands: float | None

    @property
    def band_height(self) -> float:
        """Mel bands of the spectrogram from one band to the next, as they are drawn: where they are others, all of them have its height."""
        return self.mel_bands or FRONT_END.mel_bins / self.values.shape[1]

    @property
    def first_band(self) -> float:
        """Centre of the lowest band, in mel bands of the spectrogram."""
        return (self.band_height - 1) / 2


@dataclass(frozen=True, eq=False)
class LayerInput:
    """What a layer takes: (1, input channels, frames, bands), as the network has them, and the seconds of sound that it comes from."""

    maps: Tensor
    seconds: float


def layer_input(model: Network, layer: str, waveform: np.ndarray) -> LayerInput:
    """A layer's input: the network runs up to it.

    Parameters
    ----------
    model : Network
        The network.
    layer : str
        One of its architecture's ``layers``.
    waveform : (samples,) float32
        At 32 kHz; it is resampled, padded and cut as the network needs it. Memory grows with its length: 30 s before C2 of the full
        CNN14 are 49 MB.

    Raises
    ------
    ModelError
        The network has no such layer.
    """
    path, entry = _modules(model, layer)[0], architecture(architecture_of(model))
    samples = fitted(waveform, entry)
    steps = trace(model, samples.shape[1])
    at = steps.position(path)
    if at is None:
        raise ModelError(f"{layer} is stored and never used; choose another layer.")
    with torch.inference_mode():
        values = start_values(model.front_end(samples))
        steps.run(model, values, stop=at)
    return LayerInput(values[steps.steps[at].inputs[0]], samples.shape[1] / entry.sample_rate)


def feature_map(model: Network, layer: str, index: int, inputs: LayerInput) -> FeatureMap:
    """The feature map of one filter from its layer's input (``layer_input``); the layer's other filters are not computed.

    Parameters
    ----------
    model, layer : Network, str
        As for ``layer_input``.
    index : int
        The filter.
    inputs : LayerInput
        The layer's input.

    Raises
    ------
    ModelError
        The layer has no such filter.

    Examples
    --------
    >>> from core.models.cnn import Cnn14Config
    >>> model = architecture("cnn14").build(Cnn14Config((2,) * 12, classes=1, embedding=2)).eval()
    >>> inputs = layer_input(model, "C3", np.zeros(32_000, np.float32))
    >>> feature_map(model, "C3", 0, inputs).values.shape
    (50, 32)
    """
    path, norm_path = _modules(model, layer)
    convolution = model.get_submodule(path)
    assert isinstance(convolution, nn.Conv1d | nn.Conv2d)
    if not 0 <= index < len(convolution.weight):
        raise ModelError(
            f"{layer} has no filter {index}; its filters are 0 to {len(convolution.weight) - 1}."
        )
    one = slice(index, index + 1)
    convolve = F.conv2d if isinstance(convolution, nn.Conv2d) else F.conv1d
    with torch.inference_mode():
        x = convolve(
            inputs.maps,
            convolution.weight[one],
            None if convolution.bias is None else convolution.bias[one],
            convolution.stride,
            convolution.padding,
            convolution.dilation,
        )
        if norm_path is not None:
            x = _normalized(model.get_submodule(norm_path), one, x)
        values = F.relu_(x)[0, 0]
    if values.dim() == 1:
        values = values[:, None]
    elif model.time_axis == 3:
        values = values.T
    return _placed(values.contiguous().numpy(), model.published_front_end, inputs.seconds)


def _placed(values: np.ndarray, front: FrontEnd | None, seconds: float) -> FeatureMap:
    """With the axes of the clip's spectrogram."""
    frames, bands = values.shape
    if front is None or bands == 1:
        return FeatureMap(values, seconds / frames, seconds / frames / 2, None)
    hop_s = front.hop / front.sample_rate
    pooled = round(front.frames(round(seconds * front.sample_rate)) / frames)
    same = (front.fmin, front.fmax) == (FRONT_END.fmin, FRONT_END.fmax)
    mel_bands = FRONT_END.mel_bins / front.mel_bins * round(front.mel_bins / bands) if same else None
    return FeatureMap(values, pooled * hop_s, (pooled - 1) / 2 * hop_s, mel_bands)


def _normalized(norm: nn.Module, one: slice, x: Tensor) -> Tensor:
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return F.batch_norm(
        x,
        norm.running_mean[one],
        norm.running_var[one],
        norm.weight[one],
        norm.bias[one],
        training=False,
        eps=norm.eps,
    )


def _modules(model: Network, layer: str) -> tuple[str, str | None]:
    """Paths of a layer's convolution and batch norm."""
    entry = architecture(architecture_of(model))
    check_prunable(entry.name)
    if layer not in entry.layers:
        raise ModelError(
            f"{entry.title} has no layer {layer!r}; its convolutions are {entry.layers[0]} to {entry.layers[-1]}."
        )
    modules = entry.modules()[layer]
    return modules.convolution, modules.norm
