"""PANNs' one-dimensional networks, which take the waveform itself: LeeNet11/24, DaiNet19, Res1dNet31/51."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from core.models.network import PannsNetwork, WaveformInput

_LEE11 = (1, 64, 64, 64, 128, 128, 128, 128, 128, 256)
_LEE24 = (1, 64, 96, 128, 128, 256, 256, 512, 512, 1024)
"""Channels into and out of the nine blocks."""

_DAI = (64, 64, 128, 256, 512)

_RES = (64, 128, 256, 512, 1024, 1024, 2048)
"""Filters of Res1dNet's seven stages."""


class WaveformNetwork(PannsNetwork):
    """A network whose convolutions run over time alone."""

    def __init__(self) -> None:
        super().__init__()
        self.front_end = WaveformInput()


class LeeBlock(nn.Module):
    """One or two convolutions, each with batch norm and ReLU, and a maximum over ``pool`` samples."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, pool: int, convolutions: int) -> None:
        super().__init__()
        self.pool, self.convolutions = pool, convolutions
        for index in range(1, convolutions + 1):
            first = index == 1
            convolution = nn.Conv1d(
                inputs if first else outputs, outputs, 3, stride=stride if first else 1, padding=1, bias=False
            )
            self.add_module(f"conv{index}", convolution)
        for index in range(1, convolutions + 1):
            self.add_module(f"bn{index}", nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        for index in range(1, self.convolutions + 1):
            x = self.get_submodule(f"conv{index}")(x)
            x = F.relu_(self.get_submodule(f"bn{index}")(x))
        return x if self.pool == 1 else F.max_pool1d(x, self.pool, padding=self.pool // 2)


class LeeNet11(WaveformNetwork):
    """Nine convolutions of three taps; the first strides by three, the others are pooled over three."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        for block, (inputs, outputs) in enumerate(pairwise(_LEE11), start=1):
            stride, pool = (3, 1) if block == 1 else (1, 3)
            self.add_module(
                f"conv_block{block}", LeeBlock(inputs, outputs, stride=stride, pool=pool, convolutions=1)
            )
        self.add_head(_LEE11[-1], 512, classes)

    def feature_maps(self, inputs: Tensor) -> Tensor:
        for block in range(1, len(_LEE11)):
            inputs = self.get_submodule(f"conv_block{block}")(inputs)
        return inputs


class LeeNet24(WaveformNetwork):
    """Nine blocks of two convolutions; the first strides by three, all others but the last are pooled over three."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        last = len(_LEE24) - 1
        for block, (inputs, outputs) in enumerate(pairwise(_LEE24), start=1):
            stride, pool = (3, 1) if block == 1 else (1, 1 if block == last else 3)
            self.add_module(
                f"conv_block{block}", LeeBlock(inputs, outputs, stride=stride, pool=pool, convolutions=2)
            )
        self.add_head(_LEE24[-1], 1024, classes)

    def feature_maps(self, inputs: Tensor) -> Tensor:
        last = len(_LEE24) - 1
        for block in range(1, last + 1):
            inputs = self.get_submodule(f"conv_block{block}")(inputs)
            if block < last:
                inputs = F.dropout(inputs, 0.1, self.training)
        return inputs


class DaiBlock(nn.Module):
    """Four convolutions beside a shortcut; where the channels stay the same its ``downsample`` is stored but never used."""

    zero_norm = "bn4"

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.projects = inputs != outputs
        for index in range(1, 5):
            convolution = nn.Conv1d(inputs if index == 1 else outputs, outputs, 3, padding=1, bias=False)
            self.add_module(f"conv{index}", convolution)
        self.downsample = nn.Conv1d(inputs, outputs, 1, bias=False)
        for index in range(1, 5):
            self.add_module(f"bn{index}", nn.BatchNorm1d(outputs))
        self.bn_downsample = nn.BatchNorm1d(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs
        for index in range(1, 5):
            x = self.get_submodule(f"conv{index}")(x)
            x = self.get_submodule(f"bn{index}")(x)
            if index < 4:
                x = F.relu_(x)
        return F.relu_(x + (self.bn_downsample(self.downsample(inputs)) if self.projects else inputs))


class DaiNet19(WaveformNetwork):
    """A convolution of 80 taps and four residual blocks, with a maximum over four samples between them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(1, _DAI[0], 80, stride=4, bias=False)
        self.bn0 = nn.BatchNorm1d(_DAI[0])
        for block, (inputs, outputs) in enumerate(pairwise(_DAI), start=1):
            self.add_module(f"conv_block{block}", DaiBlock(inputs, outputs))
        self.add_head(_DAI[-1], _DAI[-1], classes)

    def feature_maps(self, inputs: Tensor) -> Tensor:
        x = self.bn0(self.conv0(inputs))
        for block in range(1, len(_DAI)):
            x = self.get_submodule(f"conv_block{block}")(x if block == 1 else F.max_pool1d(x, 4))
        return x


class Res1dBlock(nn.Module):
    """Two convolutions, the second dilated, beside a shortcut; a stride is a maximum before them and a mean in the shortcut."""

    zero_norm = "bn2"

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv1d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm1d(outputs)
        self.conv2 = nn.Conv1d(outputs, outputs, 3, padding=2, dilation=2, bias=False)
        self.bn2 = nn.BatchNorm1d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv1d(inputs, outputs, 1, bias=False)
            self.downsample = nn.Sequential(nn.AvgPool1d(stride), shortcut, nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = x if self.stride == 1 else F.max_pool1d(x, self.stride)
        out = F.relu_(self.bn1(self.conv1(out)))
        out = self.bn2(self.conv2(F.dropout(out, 0.1, self.training)))
        return F.relu_(out + (x if self.downsample is None else self.downsample(x)))


class Res1dStages(nn.Module):
    """Seven stages of residual blocks; all but the first start with a stride of 4."""

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__()
        inputs = _RES[0]
        for stage, (width, count) in enumerate(zip(_RES, counts, strict=True), start=1):
            blocks = [Res1dBlock(inputs, width, 4 if stage > 1 else 1)]
            blocks += [Res1dBlock(width, width, 1) for _ in range(count - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            inputs = width

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.children():
            x = stage(x)
        return x


class Res1dNet(WaveformNetwork):
    """A convolution of 11 taps with a stride of 5, and residual stages."""

    def __init__(self, counts: Sequence[int], classes: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(1, _RES[0], 11, stride=5, padding=5, bias=False)
        self.bn0 = nn.BatchNorm1d(_RES[0])
        self.resnet = Res1dStages(counts)
        self.add_head(_RES[-1], _RES[-1], classes)

    def feature_maps(self, inputs: Tensor) -> Tensor:
        return self.resnet(self.bn0(self.conv0(inputs)))
