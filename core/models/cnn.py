"""PANNs' plain convolutional networks: CNN14 with its widths as data, which E-PANNs is too, and the smaller CNN10 and CNN6.

Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition" (IEEE/ACM TASLP 2020)
for the network; Singh et al., "E-PANNs: Sound Recognition Using Efficient Pre-trained Audio Neural Networks"
(Inter-Noise 2023) for the pruned one. A pruned CNN14 is this class with narrower ``widths``; there is no second network.
Parameter names are those of the published state dicts, without the front end's three frozen tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ModelError
from core.models.blocks import ConvBlock
from core.models.frontend import FRONT_END, FrontEnd
from core.models.network import LogMelNetwork

CNN14_WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 2048, 2048)
"""Filters of C1..C12 in the published CNN14."""

LAYERS = tuple(f"C{i}" for i in range(1, 13))
"""The paper's names of the twelve convolutions, first to last."""

MIN_SAMPLES = 9_920
"""Shortest waveform the network accepts: 32 frames (0.31 s at 32 kHz), since five poolings halve the time axis."""

BLOCK_DROPOUT = 0.2  # after each of the six blocks (audioset_tagging_cnn, pytorch/models.py, line 204)


_SMALL_WIDTHS = (1, 64, 128, 256, 512)
"""Channels into and out of the four blocks of CNN10 and CNN6."""


@dataclass(frozen=True)
class Cnn14Config:
    """The configuration of a CNN14.

    Attributes
    ----------
    widths : tuple of int
        Filters of C1..C12.
    classes : int
        Outputs.
    embedding : int
        Outputs of fc1 (2048 in PANNs and in E-PANNs: pruning does not change it).
    front_end : FrontEnd
        What the network was trained on: PANNs published CNN14 at 16 kHz and 8 kHz, and with 32 and 128 mel bands, too.
    """

    widths: tuple[int, ...] = CNN14_WIDTHS
    classes: int = 527
    embedding: int = 2048
    front_end: FrontEnd = FRONT_END

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(int(width) for width in self.widths))
        if len(self.widths) != len(LAYERS) or min(self.widths) < 1:
            raise ModelError(
                f"CNN14 has {len(LAYERS)} convolutions with at least one filter each; "
                f"got widths {list(self.widths)}. Give one positive number for each of C1..C12."
            )
        if self.classes < 1 or self.embedding < 1:
            raise ModelError(
                f"CNN14 needs at least one class and one embedding unit; got classes={self.classes}, "
                f"embedding={self.embedding}."
            )


class Cnn14(LogMelNetwork):
    """CNN14: waveform (batch, samples) at 32 kHz -> logits (batch, classes); probabilities are their sigmoid.

    Examples
    --------
    >>> import torch
    >>> model = Cnn14(Cnn14Config((2,) * 12, classes=3, embedding=4)).eval()
    >>> model.probabilities(torch.zeros(2, 32_000)).shape
    torch.Size([2, 3])
    """

    config: Cnn14Config
    architecture = "cnn14"  # the registry names those on other front ends

    def __init__(self, config: Cnn14Config | None = None) -> None:
        config = config or Cnn14Config()
        super().__init__(config.front_end)
        self.config = config
        inputs = 1
        for block in range(6):
            mid, out = config.widths[2 * block : 2 * block + 2]
            self.add_module(f"conv_block{block + 1}", ConvBlock(inputs, mid, out))
            inputs = out
        self.add_head(inputs, config.embedding, config.classes)

    def maps(self, x: Tensor) -> Tensor:
        for layer in LAYERS:
            x = self.layer(layer, x)
            if ends_block(layer):
                x = F.dropout(x, BLOCK_DROPOUT, self.training)
        return x

    def layer(self, name: str, x: Tensor) -> Tensor:
        """One layer: convolution, batch norm, ReLU, and the pooling that ends a block.

        (batch, in channels, frames, bands) -> (batch, filters, frames, bands), both halved after C2, C4, C6, C8 and C10.
        """
        x = F.relu_(self.batch_norm(name)(self.convolution(name)(x)))
        # The last block is not pooled: it keeps the 31 x 2 map of a 10 s clip.
        return F.avg_pool2d(x, 2) if ends_block(name) and name != LAYERS[-1] else x

    def convolution(self, layer: str) -> nn.Conv2d:
        """The convolution that the paper calls ``layer`` (C1..C12)."""
        block, conv, _ = layer_modules(layer)
        return self.get_submodule(f"{block}.{conv}")  # type: ignore[return-value]

    def batch_norm(self, layer: str) -> nn.BatchNorm2d:
        """The batch norm that follows convolution ``layer``."""
        block, _, norm = layer_modules(layer)
        return self.get_submodule(f"{block}.{norm}")  # type: ignore[return-value]


def layer_modules(layer: str) -> tuple[str, str, str]:
    """Names of block, convolution and batch norm of a layer: ``C7`` -> (conv_block4, conv1, bn1)."""
    if layer not in LAYERS:
        raise ModelError(f"CNN14 has no layer {layer!r}; its convolutions are C1 to C12.")
    index = LAYERS.index(layer)
    return f"conv_block{index // 2 + 1}", f"conv{index % 2 + 1}", f"bn{index % 2 + 1}"


def ends_block(layer: str) -> bool:
    """Whether a layer is the second of its block, after which the network pools and drops out."""
    return layer_modules(layer)[1] == "conv2"


def config_from_state(state: dict[str, Tensor], front_end: FrontEnd = FRONT_END) -> Cnn14Config:
    """Read a CNN14's widths, classes and embedding off its tensors' shapes (values are not touched)."""
    needed = [".".join(layer_modules(layer)[:2]) + ".weight" for layer in LAYERS]
    needed += ["fc1.weight", "fc_audioset.weight"]
    missing = [name for name in needed if name not in state or state[name].ndim < 2]
    if missing:
        raise ModelError(
            f"These weights are not a CNN14's: {missing[0]} is missing"
            + (f", and {len(missing) - 1} more." if len(missing) > 1 else ".")
        )
    return Cnn14Config(
        widths=tuple(state[name].shape[0] for name in needed[:12]),
        classes=state["fc_audioset.weight"].shape[0],
        embedding=state["fc1.weight"].shape[0],
        front_end=front_end,
    )


class Cnn10(LogMelNetwork):
    """CNN10: four blocks of two 3x3 convolutions, 64, 128, 256 and 512 filters wide, each averaged over 2 x 2."""

    def __init__(self, classes: int) -> None:
        super().__init__(FRONT_END)
        for index, (inputs, outputs) in enumerate(pairwise(_SMALL_WIDTHS), start=1):
            self.add_module(f"conv_block{index}", self.block(inputs, outputs))
        self.add_head(_SMALL_WIDTHS[-1], _SMALL_WIDTHS[-1], classes)

    def block(self, inputs: int, outputs: int) -> nn.Module:
        """One of the four blocks."""
        return ConvBlock(inputs, outputs, outputs)

    def maps(self, x: Tensor) -> Tensor:
        for index in range(1, len(_SMALL_WIDTHS)):
            x = self.get_submodule(f"conv_block{index}")(x, 2)
            x = F.dropout(x, BLOCK_DROPOUT, self.training)
        return x


class WideKernelBlock(nn.Module):
    """A 5x5 convolution with batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, pool: int) -> Tensor:
        return F.avg_pool2d(F.relu_(self.bn1(self.conv1(x))), pool)


class Cnn6(Cnn10):
    """CNN6: CNN10 with one 5x5 convolution a block in place of two 3x3."""

    def block(self, inputs: int, outputs: int) -> nn.Module:
        return WideKernelBlock(inputs, outputs)
