"""PANNs' Wavegram networks: CNN14 on a front end that is learned from the waveform, alone or beside the log-mel."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.blocks import ConvBlock
from core.models.cnn import BLOCK_DROPOUT, CNN14_WIDTHS
from core.models.frontend import FRONT_END, FrontEnd, LogMel
from core.models.network import PannsNetwork, WaveformInput

_BANDS_PER_MEL = 2
"""The wavegram has half as many bands as the log-mel: it joins the network after the first pooling."""

_GROUPS = 4
"""Channels of the wavegram for each of its bands."""


class WaveformBlock(nn.Module):
    """Two 1-D convolutions, the second dilated, each with batch norm and ReLU, and a maximum over four samples."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv1d(outputs, outputs, 3, padding=2, dilation=2, bias=False)
        self.bn1 = nn.BatchNorm1d(outputs)
        self.bn2 = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.bn1(self.conv1(x)))
        return F.max_pool1d(F.relu_(self.bn2(self.conv2(x))), 4)


class WavegramCnn14(PannsNetwork):
    """CNN14 whose first block's place a learned front end takes; ``bn0`` and ``conv_block1`` are stored but never used."""

    def __init__(self, classes: int, front_end: FrontEnd = FRONT_END) -> None:
        super().__init__()
        self.front_end = WaveformInput()
        self.bands = front_end.mel_bins // _BANDS_PER_MEL
        self.pre_conv0 = nn.Conv1d(1, 64, 11, stride=5, padding=5, bias=False)
        self.pre_bn0 = nn.BatchNorm1d(64)
        self.pre_block1 = WaveformBlock(64, 64)
        self.pre_block2 = WaveformBlock(64, 128)
        self.pre_block3 = WaveformBlock(128, _GROUPS * self.bands)
        self.pre_block4 = ConvBlock(_GROUPS, 64, 64)
        self.bn0 = nn.BatchNorm2d(front_end.mel_bins)
        self.conv_block1 = ConvBlock(1, 64, 64)
        inputs = self.joined
        for block, outputs in enumerate(CNN14_WIDTHS[3::2], start=2):
            self.add_module(f"conv_block{block}", ConvBlock(inputs, outputs, outputs))
            inputs = outputs
        self.add_head(inputs, inputs, classes)

    joined = 64
    """Channels into the second block."""

    def feature_maps(self, inputs: Any) -> Tensor:
        return self.later_blocks(self.wavegram(inputs))

    def wavegram(self, waveform: Tensor) -> Tensor:
        """(batch, 1, samples) -> (batch, 64, samples // 640, bands)."""
        x = F.relu_(self.pre_bn0(self.pre_conv0(waveform)))
        x = self.pre_block3(self.pre_block2(self.pre_block1(x)))
        # Channel c becomes group c // bands and band c % bands.
        x = x.reshape(x.shape[0], -1, self.bands, x.shape[-1]).transpose(2, 3)
        return self.pre_block4(x, (2, 1))

    def later_blocks(self, x: Tensor) -> Tensor:
        """Blocks 2 to 6."""
        x = F.dropout(x, BLOCK_DROPOUT, self.training)
        for block in range(2, 7):
            x = self.get_submodule(f"conv_block{block}")(x, 2 if block < 6 else 1)
            x = F.dropout(x, BLOCK_DROPOUT, self.training)
        return x


class WaveformAndLogMel(nn.Module):
    """Waveform (batch, samples) -> the waveform (batch, 1, samples) and its log-mel (batch, 1, frames, mel_bins)."""

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.log_mel = LogMel(front_end)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        return waveform.unsqueeze(1), self.log_mel(waveform)


class WavegramLogmelCnn14(WavegramCnn14):
    """CNN14 whose first block, on the log-mel, is joined by the learned front end."""

    joined = 128

    def __init__(self, classes: int, front_end: FrontEnd = FRONT_END) -> None:
        super().__init__(classes, front_end)
        self.front_end = WaveformAndLogMel(front_end)
        self.published_front_end = front_end

    def feature_maps(self, inputs: Any) -> Tensor:
        waveform, logmel = inputs
        x = self.conv_block1(self.bn0(logmel.transpose(1, 3)).transpose(1, 3), 2)
        wavegram = self.wavegram(waveform)
        # Of an odd number of hops the log-mel gives one frame more than the wavegram, where the original fails; it never gives fewer.
        return self.later_blocks(torch.cat([x[:, :, : wavegram.shape[2]], wavegram], dim=1))
