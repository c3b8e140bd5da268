"""A network as plain convolutions: batch norm folded into what stands beside it.

In eval mode a batch norm is y = a x + b per channel, with a = gamma / sqrt(variance + eps) and b = beta - a mean. Behind a
convolution without bias, a scales its filters and b becomes its bias. The first one, over mel bands, cannot go into C1,
whose zero padding is applied after it; it goes into the scale of the decibels before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from core.models.cnn import Cnn14

Array = npt.NDArray[np.float32]

_PIECE = 2**19
"""Weights that are folded at once where they are made in pieces: 4 MB in float64."""


def folded_weight(model: Cnn14, layer: str) -> Array:
    """Weights (filters, channels, 3, 3) of a convolution with its batch norm; computed in float64."""
    scale, _ = _affine(model.batch_norm(layer))
    weight = model.convolution(layer).weight.detach().cpu().double() * scale[:, None, None, None]
    return weight.float().numpy()


def folded_rows(model: Cnn14, layer: str) -> Iterator[Array]:
    """The same, some filters (rows, channels, 3, 3) at a time: of the widest layer float64 takes 300 MB at once."""
    scale, _ = _affine(model.batch_norm(layer))
    weight = model.convolution(layer).weight.detach()
    rows = max(1, _PIECE // weight[0].numel())
    for part, factor in zip(weight.split(rows), scale.split(rows), strict=True):
        yield (part.cpu().double() * factor[:, None, None, None]).float().numpy()


def folded_bias(model: Cnn14, layer: str) -> Array:
    """Bias (filters,) that a convolution has from its batch norm; computed in float64."""
    return _affine(model.batch_norm(layer))[1].float().numpy()


def norm_scale(model: Cnn14, layer: str) -> Array:
    """Factor (filters,) that a convolution's weights have from its batch norm."""
    return _affine(model.batch_norm(layer))[0].float().numpy()


def band_normalization(model: Cnn14) -> tuple[Array, Array]:
    """The first batch norm, over mel bands: scale and shift, (mel_bins,) each."""
    scale, shift = _affine(model.bn0)
    return scale.float().numpy(), shift.float().numpy()


def plain(parameter: Tensor) -> Array:
    """A linear layer's weight or bias as it is, float32."""
    return parameter.detach().cpu().float().contiguous().numpy()


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight.detach().cpu().double() / torch.sqrt(variance.detach().cpu().double() + norm.eps)
    return scale, norm.bias.detach().cpu().double() - scale * mean.detach().cpu().double()
