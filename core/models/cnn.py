"""CNN14 with its widths as data: PANNs' CNN14, E-PANNs, and everything between them.

Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition" (IEEE/ACM TASLP 2020)
for the network; Singh et al., "E-PANNs: Sound Recognition Using Efficient Pre-trained Audio Neural Networks"
(Inter-Noise 2023) for the pruned one. A pruned CNN14 is this class with narrower ``widths``; there is no second network.
Parameter names are those of the published state dicts, without the front end's three frozen tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ModelError
from core.models.blocks import ConvBlock, initialize
from core.models.frontend import FRONT_END, LogMel

CNN14_WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 2048, 2048)
"""Filters of C1..C12 in the published CNN14."""

LAYERS = tuple(f"C{i}" for i in range(1, 13))
"""The paper's names of the twelve convolutions, first to last."""

MIN_SAMPLES = 9_920
"""Shortest waveform the network accepts: 32 frames (0.31 s at 32 kHz), since five poolings halve the time axis."""

_BLOCK_DROPOUT = 0.2  # after each of the six blocks (audioset_tagging_cnn, pytorch/models.py, line 204)
_EMBEDDING_DROPOUT = 0.5  # before fc1


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
    """

    widths: tuple[int, ...] = CNN14_WIDTHS
    classes: int = 527
    embedding: int = 2048

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


class Cnn14(nn.Module):
    """CNN14: waveform (batch, samples) at 32 kHz -> logits (batch, classes); probabilities are their sigmoid.

    Examples
    --------
    >>> model = Cnn14(Cnn14Config((2,) * 12, classes=3, embedding=4)).eval()
    >>> model.probabilities(torch.zeros(2, 32_000)).shape
    torch.Size([2, 3])
    """

    def __init__(self, config: Cnn14Config | None = None) -> None:
        super().__init__()
        self.config = config or Cnn14Config()
        widths = self.config.widths
        self.front_end = LogMel()
        self.bn0 = nn.BatchNorm2d(FRONT_END.mel_bins)
        inputs = 1
        for block in range(6):
            mid, out = widths[2 * block : 2 * block + 2]
            self.add_module(f"conv_block{block + 1}", ConvBlock(inputs, mid, out))
            inputs = out
        self.fc1 = nn.Linear(inputs, self.config.embedding)
        self.fc_audioset = nn.Linear(self.config.embedding, self.config.classes)
        if not self.fc1.weight.is_meta:
            self.apply(initialize)

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits (batch, classes) of waveforms (batch, samples)."""
        return self.network(self.front_end(waveform))

    def network(self, logmel: Tensor, augment: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Logits of log-mel spectrograms, (batch, 1, frames, mel_bins) -> (batch, classes).

        ``augment`` is called on the normalized log-mel, where the published recipe applies SpecAugment and mixup; it
        may change the batch's size.
        """
        x = self.normalize(logmel)
        if augment is not None:
            x = augment(x)
        for layer in LAYERS:
            x = self.layer(layer, x)
            if ends_block(layer):
                x = F.dropout(x, _BLOCK_DROPOUT, self.training)
        return self.head(x)

    def normalize(self, logmel: Tensor) -> Tensor:
        """C1's input: the first batch norm, over mel bands; (batch, 1, frames, mel_bins) -> the same shape."""
        return self.bn0(logmel.transpose(1, 3)).transpose(1, 3)

    def layer(self, name: str, x: Tensor) -> Tensor:
        """One layer: convolution, batch norm, ReLU, and the pooling that ends a block.

        (batch, in channels, frames, bands) -> (batch, filters, frames, bands), both halved after C2, C4, C6, C8 and C10.
        """
        x = F.relu_(self.batch_norm(name)(self.convolution(name)(x)))
        # The last block is not pooled: it keeps the 31 x 2 map of a 10 s clip.
        return F.avg_pool2d(x, 2) if ends_block(name) and name != LAYERS[-1] else x

    def head(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of C12's feature maps (batch, C12, frames, bands)."""
        x = F.dropout(self.pool(x), _EMBEDDING_DROPOUT, self.training)
        return self.fc_audioset(F.relu_(self.fc1(x)))

    def pool(self, x: Tensor) -> Tensor:
        """fc1's input (batch, C12): each feature map's mean over the bands, then its maximum plus its mean over time."""
        x = x.mean(dim=3)
        return x.amax(dim=2) + x.mean(dim=2)

    def convolution(self, layer: str) -> nn.Conv2d:
        """The convolution that the paper calls ``layer`` (C1..C12)."""
        block, conv, _ = layer_modules(layer)
        return self.get_submodule(f"{block}.{conv}")  # type: ignore[return-value]

    def batch_norm(self, layer: str) -> nn.BatchNorm2d:
        """The batch norm that follows convolution ``layer``."""
        block, _, norm = layer_modules(layer)
        return self.get_submodule(f"{block}.{norm}")  # type: ignore[return-value]

    def probabilities(self, waveform: Tensor) -> Tensor:
        """Sigmoid of the logits, without gradients: (batch, samples) -> (batch, classes)."""
        with torch.inference_mode():
            return torch.sigmoid(self(waveform))


def layer_modules(layer: str) -> tuple[str, str, str]:
    """Names of block, convolution and batch norm of a layer: ``C7`` -> (conv_block4, conv1, bn1)."""
    if layer not in LAYERS:
        raise ModelError(f"CNN14 has no layer {layer!r}; its convolutions are C1 to C12.")
    index = LAYERS.index(layer)
    return f"conv_block{index // 2 + 1}", f"conv{index % 2 + 1}", f"bn{index % 2 + 1}"


def ends_block(layer: str) -> bool:
    """Whether a layer is the second of its block, after which the network pools and drops out."""
    return layer_modules(layer)[1] == "conv2"


def config_from_state(state: dict[str, Tensor]) -> Cnn14Config:
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
    )
