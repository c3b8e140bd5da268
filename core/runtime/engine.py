"""Engines: the interface, and torch, the reference."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from core.errors import ModelError
from core.models.network import Network
from core.models.registry import architecture

RUNTIMES = ("auto", "torch", "winograd", "ncnn", "onnxruntime", "bf16")
"""Names of runtimes. ``bf16`` keeps weights and feature maps in 16 bits, and runs only where it is requested by name."""


class EngineError(ModelError):
    """An engine cannot run this network here: its package is missing, it refuses the network, or its probabilities differ."""


class Engine(Protocol):
    """Runs one network; safe to share between threads.

    Attributes
    ----------
    name : "torch", "torch-cuda", "winograd", "ncnn", "onnxruntime" or "bf16".
    why : the reason for the choice of this engine, in one sentence.
    nbytes : bytes of its own copy of the weights; 0 where it uses the network's.
    """

    name: str
    why: str

    @property
    def nbytes(self) -> int: ...

    def probabilities(self, waveforms: Tensor) -> Tensor:
        """(batch, samples) float32 at 32 kHz, at least ``MIN_SAMPLES`` -> (batch, classes) probabilities."""

    def outputs(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the embeddings (batch, units), from one pass."""


class TorchEngine:
    """PyTorch: the reference, and the fastest where there is a CUDA device (which then holds a copy of the weights).

    ``fell_back``: it stands in for a faster engine that is made for the architecture and cannot be used here.
    """

    def __init__(self, model: Network, why: str, device: str = "cpu", *, fell_back: bool = False) -> None:
        self.name = "torch" if device == "cpu" else f"torch-{device}"
        self.why, self.fell_back = why, fell_back
        self._device = device
        self._model = model if device == "cpu" else _copy(model, device)
        self.nbytes = 0  # a device's memory is not this process's

    def probabilities(self, waveforms: Tensor) -> Tensor:
        return self._model.probabilities(waveforms.to(self._device)).cpu()

    def outputs(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, embeddings = self._model.outputs(waveforms.to(self._device))
        return probabilities.cpu(), embeddings.cpu()


def _copy(model: Network, device: str) -> Network:
    """A copy of the network on another device."""
    with torch.device("meta"):
        copy = architecture(model.architecture).build(model.config)
    state = {name: value.to(device) for name, value in model.state_dict().items()}
    copy.load_state_dict(state, assign=True)
    copy.front_end.to(device)
    return copy.eval()
