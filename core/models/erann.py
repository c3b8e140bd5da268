"""ERANNs: efficient residual audio neural networks.

Verbitskiy, Berikov, Vyshegorodtsev, "ERANNs: Efficient residual audio neural networks for audio pattern recognition" (Pattern
Recognition Letters 161, 2022; arXiv 2106.01621). No weights are public; the structure gives the published numbers of parameters.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from core.models.frontend import FrontEnd, LogMel
from core.models.network import Network

ERANN_FRONT_END = FrontEnd(sample_rate=44_100, n_fft=1380, hop=345, mel_bins=128, fmin=50.0, fmax=22_050.0)
"""44.1 kHz, 128 bands and 128 frames a second are the paper's; the window of four hops and the lowest band are ours."""

_STAGES = 5
_BLOCKS = 4
_LEAST_CHANNELS = 8
_SLOPE = 0.01  # of the leaky ReLU


class ErannBlock(nn.Module):
    """Batch norm, leaky ReLU and convolution, twice, beside a shortcut; ``stride`` is of (bands, frames)."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int]) -> None:
        super().__init__()
        # Along an axis of stride 4 the kernels have 6 and then 5 taps, otherwise 3.
        wide = stride[1] == 4
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(
            inputs, outputs, (3, 6 if wide else 3), stride, (1, 2 if wide else 1), bias=False
        )
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(
            outputs, outputs, (3, 5 if wide else 3), padding=(1, 2 if wide else 1), bias=False
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != (1, 1):
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

        # A kernel of 6 needs one more frame at the end to return as many as the shortcut, every fourth.
        self.margin = 1 if wide else 0

    def forward(self, x: Tensor) -> Tensor:
        out = F.leaky_relu(self.bn1(x), _SLOPE)
        out = self.conv1(F.pad(out, (0, self.margin)) if self.margin else out)
        out = self.conv2(F.leaky_relu(self.bn2(out), _SLOPE))
        return out + self.shortcut(x)


class Erann(Network):
    """ERANN-sm-W: ``strided`` stages, sm, start with a stride of 4 in time, and the stages are 8 to 128 times ``width`` wide.

    Examples
    --------
    >>> import torch
    >>> Erann(2, 1, classes=3).eval().probabilities(torch.zeros(1, 44_100)).shape
    torch.Size([1, 3])
    """

    output_layers = ("fc2",)
    time_axis = 3
    embedding_layer = "fc2"

    def __init__(self, strided: int, width: int, classes: int) -> None:
        super().__init__()
        self.front_end = LogMel(ERANN_FRONT_END)
        self.bn0 = nn.BatchNorm2d(ERANN_FRONT_END.mel_bins)
        stages = []
        inputs = 1
        for stage in range(_STAGES):
            outputs = _LEAST_CHANNELS * 2**stage * width
            time = 4 if 1 <= stage <= strided else 2
            blocks = [ErannBlock(inputs, outputs, (1, 1) if stage == 0 else (2, time))]
            blocks += [ErannBlock(outputs, outputs, (1, 1)) for _ in range(_BLOCKS - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.fc1 = nn.Linear(inputs, inputs)
        self.fc2 = nn.Linear(inputs, classes)

    def feature_maps(self, inputs: Tensor) -> Tensor:
        # The log-mel is (batch, 1, frames, bands); the paper's maps are (bands, frames).
        return self.stages(self.bn0(inputs.transpose(1, 3)).permute(0, 3, 1, 2))

    def embed(self, maps: Tensor) -> Tensor:
        return F.leaky_relu(self.fc1(maps.mean(dim=(2, 3)) + maps.amax(dim=(2, 3))), _SLOPE)

    def classify(self, embedding: Tensor) -> Tensor:
        return self.fc2(embedding)
