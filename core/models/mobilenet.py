"""PANNs' MobileNetV1 and MobileNetV2 on log-mel spectrograms; a stride of 2 is an average pooling after the convolution."""

from __future__ import annotations

from torch import Tensor, nn

from core.models.frontend import FRONT_END
from core.models.network import LogMelNetwork

_V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
"""Outputs and stride of MobileNetV1's blocks."""

_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 2),
    (6, 160, 3, 1),
    (6, 320, 1, 1),
)
"""Expansion, outputs, blocks and the first block's stride of MobileNetV2's stages."""

_FIRST = 32
_HIDDEN = 1024
_V2_LAST = 1280


class MobileNetV1(LogMelNetwork):
    """Depthwise 3x3 and 1x1 convolutions in turn."""

    def __init__(self, classes: int) -> None:
        super().__init__(FRONT_END)
        blocks = [_first()]
        inputs = _FIRST
        for outputs, stride in _V1:
            depthwise = [*_convolution(inputs, inputs, stride, groups=inputs), nn.ReLU(inplace=True)]
            blocks.append(nn.Sequential(*depthwise, *_pointwise(inputs, outputs), nn.ReLU(inplace=True)))
            inputs = outputs
        self.features = nn.Sequential(*blocks)
        self.add_head(inputs, _HIDDEN, classes)

    def maps(self, x: Tensor) -> Tensor:
        return self.features(x)


class InvertedResidual(nn.Module):
    """A 1x1 expansion (none where the factor is 1), a depthwise 3x3 convolution and a 1x1 projection; a sum where no shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        hidden = inputs * expansion
        expand = [] if expansion == 1 else [*_pointwise(inputs, hidden), nn.ReLU6(inplace=True)]
        self.conv = nn.Sequential(
            *expand,
            *_convolution(hidden, hidden, stride, groups=hidden),
            nn.ReLU6(inplace=True),
            *_pointwise(hidden, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(LogMelNetwork):
    """Inverted residual blocks."""

    pooled_dropout = 0.0  # the original has none here

    def __init__(self, classes: int) -> None:
        super().__init__(FRONT_END)
        blocks: list[nn.Module] = [_first(nn.ReLU6)]
        inputs = _FIRST
        for expansion, outputs, count, stride in _V2:
            for index in range(count):
                blocks.append(InvertedResidual(inputs, outputs, stride if index == 0 else 1, expansion))
                inputs = outputs
        blocks.append(nn.Sequential(*_pointwise(inputs, _V2_LAST), nn.ReLU6(inplace=True)))
        self.features = nn.Sequential(*blocks)
        self.add_head(_V2_LAST, _HIDDEN, classes)

    def maps(self, x: Tensor) -> Tensor:
        return self.features(x)


def _first(activation: type[nn.ReLU | nn.ReLU6] = nn.ReLU) -> nn.Sequential:
    """The first convolution, from the log-mel, with a stride of 2."""
    return nn.Sequential(*_convolution(1, _FIRST, 2), activation(inplace=True))


def _convolution(inputs: int, outputs: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """A 3x3 convolution, its pooling and its batch norm."""
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=False),
        nn.AvgPool2d(stride),
        nn.BatchNorm2d(outputs),
    ]


def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    """A 1x1 convolution and its batch norm."""
    return [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
