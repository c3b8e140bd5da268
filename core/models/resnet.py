"""PANNs' residual networks: ResNet22, ResNet38 and ResNet54 on log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from core.models.blocks import ConvBlock
from core.models.cnn import BLOCK_DROPOUT
from core.models.frontend import FRONT_END
from core.models.network import LogMelNetwork

_STAGES = (64, 128, 256, 512)
_LAST_BLOCK = 2048
_RESIDUAL_DROPOUT = 0.1  # audioset_tagging_cnn, pytorch/models.py, line 621


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; a stride of 2 is an average pooling before both."""

    expansion = 1
    zero_norm = "bn2"

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.avg_pool2d(x, 2) if self.stride == 2 else x
        out = F.relu_(self.bn1(self.conv1(out)))
        out = F.dropout(out, _RESIDUAL_DROPOUT, self.training)
        out = self.bn2(self.conv2(out))
        return F.relu_(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones beside a shortcut."""

    expansion = 4
    zero_norm = "bn3"

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.avg_pool2d(x, 2) if self.stride == 2 else x
        out = F.relu_(self.bn1(self.conv1(out)))
        out = F.relu_(self.bn2(self.conv2(out)))
        out = F.dropout(out, _RESIDUAL_DROPOUT, self.training)
        out = self.bn3(self.conv3(out))
        return F.relu_(out + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """A pooling where the block strides, a 1x1 convolution and its batch norm; None where the block changes no shape."""
    if stride == 1 and inputs == outputs:
        return None
    pooling = [nn.AvgPool2d(2)] if stride == 2 else []
    return nn.Sequential(*pooling, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class Stages(nn.Module):
    """Four stages of residual blocks; the last three start with a stride of 2."""

    def __init__(self, block: type[BasicBlock | Bottleneck], counts: Sequence[int]) -> None:
        super().__init__()
        inputs = _STAGES[0]
        for stage, (width, count) in enumerate(zip(_STAGES, counts, strict=True), start=1):
            blocks = []
            for index in range(count):
                blocks.append(block(inputs, width, 2 if stage > 1 and index == 0 else 1))
                inputs = width * block.expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.children():
            x = stage(x)
        return x


class ResNet(LogMelNetwork):
    """A block of two convolutions, residual stages, and another block that widens to 2,048 maps."""

    def __init__(self, block: type[BasicBlock | Bottleneck], counts: Sequence[int], classes: int) -> None:
        super().__init__(FRONT_END)
        self.conv_block1 = ConvBlock(1, _STAGES[0], _STAGES[0])
        self.resnet = Stages(block, counts)
        self.conv_block_after1 = ConvBlock(_STAGES[-1] * block.expansion, _LAST_BLOCK, _LAST_BLOCK)
        self.add_head(_LAST_BLOCK, _LAST_BLOCK, classes)

    def maps(self, x: Tensor) -> Tensor:
        x = F.dropout(self.conv_block1(x, 2), BLOCK_DROPOUT, self.training)
        x = F.dropout(F.avg_pool2d(self.resnet(x), 2), BLOCK_DROPOUT, self.training)
        return F.dropout(self.conv_block_after1(x, 1), BLOCK_DROPOUT, self.training)
