"""Batch norms of a pruned network, matched to the unpruned network's over the calibration clips."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def match_moments(
    before: nn.BatchNorm1d | nn.BatchNorm2d,
    after: nn.BatchNorm1d | nn.BatchNorm2d,
    kept: Tensor,
    inputs: Iterable[tuple[Tensor, Tensor]],
) -> None:
    """Set a batch norm's statistics so that its output has the mean and spread over the clips that it has unpruned.

    variance' + eps = (variance + eps) s^2 and mean' = m_y - (m_x - mean) s with s^2 = (v_y + eps) / (v_x + eps), where m and v are
    the moments of its input over the clips, x in the unpruned network and y in the pruned one. Where the unpruned network's statistics are
    those of the clips, mean' and variance' are the clips' in the pruned one.

    Parameters
    ----------
    before, after : BatchNorm
        The unpruned network's, and the one that is changed.
    kept : (channels,) Tensor
        Indices of its channels in the unpruned network.
    inputs : iterable of pairs of (1, channels, …) Tensor
        Its input in both networks, window by window.
    """
    target, present = _Moments(), _Moments()
    for x, y in inputs:
        target.add(x[:, kept])
        present.add(y)
    mean, variance = (values[kept].double() for values in _statistics(before))
    new_mean, new_variance = _statistics(after)
    (mean_x, variance_x), (mean_y, variance_y) = target.result(), present.result()
    # A filter that is silent on all clips has variance 0 in both: eps keeps its scale at 1.
    scale = ((variance_y + before.eps) / (variance_x + before.eps)).sqrt()
    new_variance.copy_(((variance + before.eps) * scale.square() - before.eps).clamp_(min=0.0))
    new_mean.copy_(mean_y - (mean_x - mean) * scale)


def _statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance; these networks' batch norms all have them."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


class _Moments:
    """Mean and variance of each channel of feature maps (1, channels, …), window by window, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = torch.zeros(())

    def add(self, maps: Tensor) -> None:
        values = maps[0].reshape(maps.shape[1], -1).double()
        self._count += values.shape[1]
        self._sum = self._sum + values.sum(1)
        self._squares = self._squares + values.square().sum(1)

    def result(self) -> tuple[Tensor, Tensor]:
        mean = self._sum / self._count
        return mean, (self._squares / self._count - mean.square()).clamp_(min=0.0)
