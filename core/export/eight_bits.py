"""A network's weights in 8 bits, for ONNX files of a quarter of the size that compute in float32.

``int8`` (``core.export.int8``) has feature maps in 8 bits, too, which needs calibration and loses more: on twelve synthesised recordings a
probability of ``demo-epanns`` changes by up to 0.062 there and by 0.010 here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from core.export.packages import require
from core.models.network import Network

LEAST_WEIGHTS = 3_000
"""Smaller layers stay in float32: the 144 weights of ``demo-cnn14``'s first convolution alone change a probability by 0.025, its large layers together by 0.010."""

_LEVELS = 127


def eight_bit_weights(
    network: Network, weights: Mapping[str, Tensor]
) -> tuple[dict[str, npt.NDArray[Any]], list[Any]]:
    """Arrays by name for a graph's ``weights``, the large learned ones as int8 and one scale a filter, and the nodes that multiply the two.

    The nodes have constants alone as inputs, so that onnxruntime computes them once, when it loads the file.
    """
    onnx = require("onnx")
    learned = {name for name, _ in network.named_parameters()}
    arrays: dict[str, npt.NDArray[Any]] = {}
    nodes: list[Any] = []
    for name, tensor in weights.items():
        values = np.ascontiguousarray(tensor.cpu().numpy(), dtype="<f4")
        if name not in learned or values.ndim < 2 or values.size < LEAST_WEIGHTS:
            arrays[name] = values
            continue
        scale = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True) / np.float32(_LEVELS)
        arrays[f"{name}.int8"] = np.rint(values / np.where(scale > 0, scale, 1)).astype(np.int8)
        arrays[f"{name}.scale"] = scale
        nodes += [
            onnx.helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]),
        ]
    return arrays, nodes
