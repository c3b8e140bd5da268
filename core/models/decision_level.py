"""CNN14 that decides segment by segment: PANNs' DecisionLevel networks, which also say when a sound occurs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.blocks import ConvBlock
from core.models.cnn import BLOCK_DROPOUT, CNN14_WIDTHS
from core.models.frontend import FRONT_END
from core.models.network import LogMelNetwork, initialize_all

_FRAMES_PER_SEGMENT = 32
"""Five poolings halve the time axis."""

SEGMENT_SAMPLES = _FRAMES_PER_SEGMENT * FRONT_END.hop
"""Samples from one segment to the next: 0.32 s."""

_CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1, where their log-odds would be infinite."""


class DecisionLevelMax(LogMelNetwork):
    """CNN14's convolutions, the hidden and the output layer on every segment of 0.32 s, and the largest probability of each class.

    ``forward`` returns the log-odds of the clip's probabilities, so that their sigmoid is the clip's probability as in any
    other network. An embedding is the mean of the segments' hidden layers; the original has none.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(FRONT_END)
        inputs = 1
        for block, outputs in enumerate(CNN14_WIDTHS[1::2], start=1):
            self.add_module(f"conv_block{block}", ConvBlock(inputs, outputs, outputs))
            inputs = outputs
        self.add_outputs(inputs, classes)

    def add_outputs(self, features: int, classes: int) -> None:
        """Add the layers after the convolutions."""
        self.add_head(features, features, classes)

    def maps(self, x: Tensor) -> Tensor:
        for block in range(1, 7):
            x = self.get_submodule(f"conv_block{block}")(x, 2 if block < 6 else 1)
            x = F.dropout(x, BLOCK_DROPOUT, self.training)
        return x

    def segments(self, maps: Tensor) -> Tensor:
        """The hidden layer of every segment: (batch, maps, segments, bands) -> (batch, segments, units)."""
        x = maps.mean(dim=3)
        x = F.max_pool1d(x, 3, 1, 1) + F.avg_pool1d(x, 3, 1, 1)
        x = F.dropout(x, self.pooled_dropout, self.training).transpose(1, 2)
        return F.relu_(self.fc1(x))

    def segment_logits(self, hidden: Tensor) -> Tensor:
        """Logits of every segment: (batch, segments, units) -> (batch, segments, classes)."""
        return self.fc_audioset(F.dropout(hidden, self.pooled_dropout, self.training))

    def embed(self, maps: Tensor) -> Tensor:
        return self.segments(maps).mean(dim=1)

    def head(self, maps: Tensor) -> Tensor:
        return self.decide(self.segments(maps))

    def decide(self, hidden: Tensor) -> Tensor:
        """The clip's log-odds: (batch, segments, units) -> (batch, classes)."""
        return self.segment_logits(hidden).amax(dim=1)

    def segmentwise(self, waveform: Tensor) -> Tensor:
        """Probabilities of every whole segment, at least of one: (batch, samples) -> (batch, segments, classes)."""
        with torch.inference_mode():
            return self._segment_probabilities(self.front_end(waveform))

    def framewise(self, waveform: Tensor) -> Tensor:
        """Probabilities of every frame, each segment's repeated over it: (batch, samples) -> (batch, frames, classes)."""
        with torch.inference_mode():
            logmel = self.front_end(waveform)
            x = self._segment_probabilities(logmel)
            x = x.repeat_interleave(_FRAMES_PER_SEGMENT, dim=1)
            # Frames after the last whole segment have its probabilities.
            return torch.cat([x, x[:, -1:].expand(-1, logmel.shape[2] - x.shape[1], -1)], dim=1)

    def _segment_probabilities(self, logmel: Tensor) -> Tensor:
        return torch.sigmoid(self.segment_logits(self.segments(self.feature_maps(logmel))))


class DecisionLevelAvg(DecisionLevelMax):
    """The same with the mean of the segments' probabilities."""

    def decide(self, hidden: Tensor) -> Tensor:
        return torch.logit(torch.sigmoid(self.segment_logits(hidden)).mean(dim=1), _CLIP)


class AttentionBlock(nn.Module):
    """The weight of every segment, ``att``, and its logits, ``cla``, per class; ``bn_att`` is stored but never used."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.att = nn.Conv1d(inputs, classes, 1)
        self.cla = nn.Conv1d(inputs, classes, 1)
        self.bn_att = nn.BatchNorm1d(classes)


class DecisionLevelAtt(DecisionLevelMax):
    """The same with a mean that attention weighs, per class."""

    output_layers = ("att_block.cla", "att_block.att")
    embedding_layer = "att_block.cla"

    def add_outputs(self, features: int, classes: int) -> None:
        self.fc1 = nn.Linear(features, features)
        self.att_block = AttentionBlock(features, classes)
        initialize_all(self)

    def segment_logits(self, hidden: Tensor) -> Tensor:
        x = F.dropout(hidden.transpose(1, 2), self.pooled_dropout, self.training)
        return self.att_block.cla(x).transpose(1, 2)

    def decide(self, hidden: Tensor) -> Tensor:
        weights = self.att_block.att(hidden.transpose(1, 2)).clamp(-10, 10).softmax(dim=2)
        probabilities = torch.sigmoid(self.segment_logits(hidden)).transpose(1, 2)
        return torch.logit((weights * probabilities).sum(dim=2), _CLIP)
