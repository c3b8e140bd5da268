"""What every network has: waveforms in, logits, probabilities and embeddings out; and what most of PANNs' networks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.blocks import initialize
from core.models.frontend import FrontEnd, LogMel


class Network(nn.Module, ABC):
    """Waveform (batch, samples) at the architecture's sample rate -> logits (batch, classes).

    A network is four steps: its front end, ``feature_maps`` (what convolutions compute), ``embed`` and ``classify``. The front end
    has no learned weights; its buffers are not part of the state dict.

    Attributes
    ----------
    published_front_end : FrontEnd, optional
        The log-mel front end whose frozen tensors the published state dicts hold; None where there are none.
    output_layers : tuple of str
        The modules whose outputs are one a class.
    embedding_layer : str
        The module whose inputs are the embedding.
    time_axis : int
        The axis of feature maps (batch, maps, frames, bands) that is time: 2, or 3 where bands come before frames.
    config : object
        What it was built from: ``widths``, ``classes``, ``embedding``.
    architecture : str
        The registry's name of the entry that built it; empty where none has.
    """

    front_end: nn.Module
    published_front_end: FrontEnd | None = None
    output_layers: tuple[str, ...] = ("fc_audioset",)
    embedding_layer = "fc_audioset"
    time_axis = 2
    config: Any
    architecture = ""

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits (batch, classes) of waveforms (batch, samples)."""
        return self.head(self.feature_maps(self.front_end(waveform)))

    @abstractmethod
    def feature_maps(self, inputs: Any) -> Tensor:
        """Feature maps of what the front end returns."""

    @abstractmethod
    def embed(self, maps: Tensor) -> Tensor:
        """Embeddings (batch, units) of feature maps."""

    @abstractmethod
    def classify(self, embedding: Tensor) -> Tensor:
        """Logits (batch, classes) of embeddings."""

    def head(self, maps: Tensor) -> Tensor:
        """Logits (batch, classes) of feature maps."""
        return self.classify(self.embed(maps))

    def activate(self, logits: Tensor) -> Tensor:
        """Probabilities of logits, (batch, classes) each: a sigmoid, since tags do not exclude each other."""
        return torch.sigmoid(logits)

    def probabilities(self, waveform: Tensor) -> Tensor:
        """``activate`` of the logits, without gradients: (batch, samples) -> (batch, classes)."""
        with torch.inference_mode():
            return self.activate(self(waveform))

    def outputs(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (batch, classes) and embeddings (batch, units) of waveforms (batch, samples), without gradients."""
        with torch.inference_mode():
            return self.outputs_of(self.feature_maps(self.front_end(waveform)))

    def outputs_of(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The same of feature maps. An embedding is what the output layer computes its logits from."""
        return self.activate(self.head(maps)), self.embed(maps)


class WaveformInput(nn.Module):
    """The front end of networks that take the waveform itself: (batch, samples) -> (batch, 1, samples)."""

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform.unsqueeze(1)


class PannsNetwork(Network):
    """A PANNs network: feature maps, pooled over time by their maximum plus their mean, ``fc1``, and ``fc_audioset``."""

    fc1: nn.Linear
    fc_audioset: nn.Linear
    pooled_dropout = 0.5

    def add_head(self, features: int, embedding: int, classes: int) -> None:
        """Add ``fc1`` and ``fc_audioset`` as the last modules, and initialise the whole network as published."""
        self.fc1 = nn.Linear(features, embedding)
        self.fc_audioset = nn.Linear(embedding, classes)
        initialize_all(self)

    def embed(self, maps: Tensor) -> Tensor:
        x = F.dropout(self.pool(maps), self.pooled_dropout, self.training)
        return F.relu_(self.fc1(x))

    def classify(self, embedding: Tensor) -> Tensor:
        return self.fc_audioset(embedding)

    def pool(self, x: Tensor) -> Tensor:
        """fc1's input (batch, maps): each feature map's mean over the bands, then its maximum plus its mean over time.

        (batch, maps, frames, bands), or (batch, maps, frames) where the network has no bands -> (batch, maps).
        """
        if x.dim() == 4:
            x = x.mean(dim=3)
        return x.amax(dim=2) + x.mean(dim=2)


class LogMelNetwork(PannsNetwork):
    """A PANNs network on log-mel spectrograms, which are normalised per band by the first batch norm, ``bn0``."""

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.published_front_end = front_end
        self.front_end = LogMel(front_end)
        self.bn0 = nn.BatchNorm2d(front_end.mel_bins)

    def network(self, logmel: Tensor, augment: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Logits of log-mel spectrograms, (batch, 1, frames, mel_bins) -> (batch, classes).

        ``augment`` is called on the normalised log-mel, where the published recipe applies SpecAugment and mixup; it
        may change the batch's size.
        """
        x = self.normalize(logmel)
        return self.head(self.maps(x if augment is None else augment(x)))

    def feature_maps(self, inputs: Tensor) -> Tensor:
        return self.maps(self.normalize(inputs))

    def normalize(self, logmel: Tensor) -> Tensor:
        """The first convolution's input: the batch norm over mel bands; (batch, 1, frames, mel_bins) -> the same shape."""
        return self.bn0(logmel.transpose(1, 3)).transpose(1, 3)

    @abstractmethod
    def maps(self, x: Tensor) -> Tensor:
        """Feature maps of the normalised log-mel: (batch, 1, frames, mel_bins) -> (batch, maps, frames, bands)."""


def initialize_all(network: nn.Module) -> None:
    """The published initialisation of a whole network; nothing is done on the meta device.

    A residual block's last batch norm, named by its ``zero_norm``, starts at zero: the block is then the identity.
    """
    if next(network.parameters()).is_meta:
        return
    network.apply(initialize)
    for module in network.modules():
        name = getattr(module, "zero_norm", None)
        if name is not None:
            nn.init.zeros_(module.get_submodule(name).weight)  # type: ignore[arg-type]
