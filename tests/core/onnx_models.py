"""Small ONNX taggers, put together node by node, and what they output, computed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from scripts.hostile_onnx import model

NAMES = ("Speech", "Rain", "Drone")
TAPS, HOP, FILTERS = 400, 160, 8


def weights() -> dict[str, np.ndarray]:
    """Of a convolution and a linear layer; the outputs differ from class to class."""
    random = np.random.default_rng(1)
    kernel = random.standard_normal((FILTERS, 1, TAPS)).astype(np.float32) / TAPS**0.5
    linear = 8 * random.standard_normal((FILTERS, len(NAMES))).astype(np.float32)
    return {"kernel": kernel, "linear": linear, "bias": np.linspace(-1, 1, len(NAMES), dtype=np.float32)}


def by_hand(waveform: np.ndarray) -> np.ndarray:
    """The probabilities that ``write`` 's tagger outputs: (samples,) -> (classes,)."""
    values = weights()
    frames = np.lib.stride_tricks.sliding_window_view(waveform, TAPS)[::HOP]
    maps = np.maximum(frames @ values["kernel"][:, 0].T, 0).mean(axis=0)
    return 1 / (1 + np.exp(-(maps @ values["linear"] + values["bias"])))


def write(
    path: Path,
    *,
    window: int | None = None,
    activated: bool = False,
    output: str = "logits",
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """A whole tagger: a convolution over the waveform, its mean over time, a linear layer, and on request a sigmoid."""
    values = weights() | {"axis": np.array([1]), "time": np.array([2])}
    last = "before" if activated else output
    nodes = [
        helper.make_node("Unsqueeze", ["waveform", "axis"], ["channel"]),
        helper.make_node("Conv", ["channel", "kernel"], ["frames"], strides=[HOP]),
        helper.make_node("Relu", ["frames"], ["maps"]),
        helper.make_node("ReduceMean", ["maps", "time"], ["pooled"], keepdims=0),
        helper.make_node("Gemm", ["pooled", "linear", "bias"], [last]),
        *([helper.make_node("Sigmoid", [last], [output])] if activated else []),
    ]
    given = ("batch", window or "samples")
    made = model(nodes, given=given, output=output, initializers=values, metadata=metadata or {})
    onnx.save(made, str(path))
    return path
