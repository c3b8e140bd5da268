"""Building blocks that the PANNs networks share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU; ``Cnn14.layer`` computes the same a convolution at a time.

    The middle width is free: pruning the first convolution narrows it and leaves the block's output as it is.
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, mid_channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(mid_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(mid_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, pool: int | tuple[int, int]) -> Tensor:
        """(batch, in_channels, frames, bands) -> (batch, out_channels, frames, bands), averaged over ``pool``."""
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return x if pool == 1 else F.avg_pool2d(x, pool)


def initialize(layer: nn.Module) -> None:
    """The published initialization: Xavier uniform weights, zero biases, batch norm 1 and 0 (models.py, line 10)."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
