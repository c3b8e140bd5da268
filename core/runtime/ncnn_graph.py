"""CNN14's body as ncnn's layers, in parts that can be loaded one by one.

ncnn's ``.param`` is a list of layers in text and its ``.bin`` the weights one after the other (https://github.com/Tencent/ncnn/wiki,
"param and model file structure" and "operation param weight table"). The input blob ``logmel`` is (1, frames, 64) in dB, as
``core.models.frontend.LogMel`` computes it; the output ``probabilities`` has one value per class. Weights are folded while they are read, a
piece at a time: there is never a second copy of the whole network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from core.models.cnn import LAYERS, Cnn14, ends_block
from core.models.folding import Array, band_normalization, folded_bias, folded_rows, plain

MAGIC = 7767517
"""The first line of every ``.param`` text."""

INPUT, EMBEDDING, OUTPUT = "logmel", "fc1", "probabilities"

_FLOAT32 = b"\0\0\0\0"
"""The tag before a weight block that is stored as float32; blocks that are always float32 (biases) have none."""

_RELU = "9=1"  # activation_type 1, of Convolution and InnerProduct
_MULTIPLY, _ADD = "0=2", "0=0"  # op_type of BinaryOp
_MAX, _MEAN = "0=4", "0=3"  # operation of Reduction

Pieces = Callable[[], Iterator[bytes | memoryview]]


@dataclass(frozen=True, eq=False)
class Step:
    """One layer: its line of the ``.param`` and its bytes of the ``.bin``."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    weights: Pieces = lambda: iter(())

    @property
    def line(self) -> str:
        """Its line of the ``.param``."""
        counts = (str(len(self.inputs)), str(len(self.outputs)))
        return " ".join((self.kind, self.name, *counts, *self.inputs, *self.outputs, *self.parameters))


def body(model: Cnn14) -> list[Step]:
    """All layers from the log-mel to the probabilities, batch norm folded in; the network is not changed."""
    scale, shift = band_normalization(model)
    steps = [
        _input(INPUT),
        _constant("band_scale", scale),
        Step("BinaryOp", "scaled", (INPUT, "band_scale"), ("scaled",), (_MULTIPLY,)),
        _constant("band_shift", shift),
        Step("BinaryOp", "normalized", ("scaled", "band_shift"), ("normalized",), (_ADD,)),
    ]
    x = "normalized"
    for layer in LAYERS:
        steps.append(_convolution(model, layer, x))
        x = layer
        if ends_block(layer) and layer != LAYERS[-1]:
            # mean of 2 x 2, a remainder of one frame left out (pad_mode 1), as PyTorch does it
            steps.append(Step("Pooling", pooled(layer), (x,), (pooled(layer),), ("0=1", "1=2", "2=2", "5=1")))
            x = pooled(layer)
    over_bands = ("1=0", "-23303=1,-1", "4=0", "5=1")
    steps += [
        Step("Reduction", "bands", (x,), ("bands",), (_MEAN, *over_bands)),
        Step("Split", "twice", ("bands",), ("bands.peak", "bands.mean")),
        Step("Reduction", "peak", ("bands.peak",), ("peak",), (_MAX, *over_bands)),
        Step("Reduction", "mean", ("bands.mean",), ("mean",), (_MEAN, *over_bands)),
        Step("BinaryOp", "summary", ("peak", "mean"), ("summary",), (_ADD,)),
        _linear(EMBEDDING, model.fc1, "summary", _RELU),
        _linear("logits", model.fc_audioset, EMBEDDING),
        Step("Sigmoid", OUTPUT, ("logits",), (OUTPUT,)),
    ]
    return steps


def pooled(layer: str) -> str:
    """The output blob of the pooling that follows a layer."""
    return f"{layer}.pooled"


def param_text(steps: Sequence[Step]) -> str:
    """The ``.param`` of some steps."""
    blobs = sum(len(step.outputs) for step in steps)
    return "\n".join([str(MAGIC), f"{len(steps)} {blobs}", *(step.line for step in steps)]) + "\n"


def weight_pieces(steps: Sequence[Step]) -> Iterator[bytes | memoryview]:
    """The ``.bin`` of some steps, in pieces of at most a few megabytes."""
    for step in steps:
        yield from step.weights()


def parts(steps: Sequence[Step], ends: Sequence[str]) -> list[list[Step]]:
    """Split a network after the blobs ``ends``; every part but the first has the blob before it as its input."""
    split: list[list[Step]] = [[]]
    for step in steps:
        split[-1].append(step)
        if step.outputs[0] in ends:
            split.append([_input(step.outputs[0])])
    return split


def _input(blob: str) -> Step:
    return Step("Input", blob, (), (blob,))


def _constant(name: str, bands: Array) -> Step:
    """A value for every mel band, for all frames: shape (1, 1, bands)."""
    return Step(
        "MemoryData", name, (), (name,), (f"0={bands.size}", "1=1", "2=1"), lambda: iter([_raw(bands)])
    )


def _convolution(model: Cnn14, layer: str, x: str) -> Step:
    weight = model.convolution(layer).weight
    filters = weight.shape[0]

    def pieces() -> Iterator[bytes | memoryview]:
        yield _FLOAT32
        for rows in folded_rows(model, layer):
            yield _raw(rows)
        yield _raw(folded_bias(model, layer))

    sizes = (f"0={filters}", "1=3", "4=1", "5=1", f"6={weight.numel()}")
    return Step("Convolution", layer, (x,), (layer,), (*sizes, _RELU), pieces)


def _linear(name: str, module: nn.Linear, x: str, *activation: str) -> Step:
    def pieces() -> Iterator[bytes | memoryview]:
        yield _FLOAT32
        yield _raw(plain(module.weight))
        yield _raw(plain(module.bias))

    sizes = (f"0={module.out_features}", "1=1", f"2={module.weight.numel()}")
    return Step("InnerProduct", name, (x,), (name,), (*sizes, *activation), pieces)


def _raw(values: Array) -> memoryview:
    return np.ascontiguousarray(values, dtype="<f4").data.cast("B")
