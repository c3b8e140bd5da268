"""Any network's counts from one pass on the meta device: what runs, how large its output is, and what is alive meanwhile.

The conventions are the package's: a network's MACs are thop's own count, its layers' are seen by hooks. Modules that a state dict stores
and the network never uses have parameters and no MACs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core.models.layers import traced
from core.models.network import Network
from core.models.registry import Architecture, empty_network
from core.profiling.counts import (
    COUNTER_BYTES,
    FLOAT16_BYTES,
    FLOAT32_BYTES,
    Counts,
    LayerProfile,
)

FRONT_END = "front end"
Weighted = nn.Conv1d | nn.Conv2d | nn.Linear
"""Modules that are layers of a profile."""


@dataclass(frozen=True)
class Pass:
    """The counts of one pass; ``peak_at`` is the step that uses the most memory, ``peak_activation_bytes``."""

    counts: Counts
    layers: tuple[LayerProfile, ...]
    peak_activation_bytes: int
    peak_at: str


def count_pass(entry: Architecture, config: Any, samples: int) -> Pass:
    """Count a network that need not exist, for a waveform of ``samples``.

    Examples
    --------
    >>> from core.models.registry import architecture
    >>> entry = architecture("cnn6")
    >>> count_pass(entry, entry.configure(), 320_000).counts.params_trainable
    4837455
    """
    network = empty_network(entry, config)
    front = network.published_front_end
    layers, memory = _Layers(network, entry), _LiveBytes(network)
    for path, module in network.named_modules():
        if isinstance(module, Weighted):
            module.register_forward_pre_hook(partial(memory.enter, layers.name(path)))
    with traced(network, layers.record), memory:
        network.probabilities(torch.empty(1, samples, device="meta"))
    stft = 0 if front is None else front.stft_parameters
    frozen = 0 if front is None else front.frozen_parameters
    trainable = sum(parameter.numel() for parameter in network.parameters())
    state = network.state_dict().values()
    matrices = sum(tensor.numel() for tensor in state if tensor.ndim > 1)
    vectors = sum(tensor.numel() for tensor in state if tensor.ndim == 1)
    counters = COUNTER_BYTES * sum(tensor.ndim == 0 for tensor in state)
    file_bytes = FLOAT32_BYTES * (matrices + vectors) + counters
    file_bytes_float16 = FLOAT16_BYTES * matrices + FLOAT32_BYTES * vectors + counters
    peak_at = max(memory.peaks, key=memory.peaks.__getitem__)
    counts = Counts(
        params_total=trainable + frozen,
        params_trainable=trainable,
        params_paper=layers.params + stft,
        macs=thop_macs(entry, config, samples) + (0 if front is None else stft * front.frames(samples)),
        macs_network=sum(row[-1] for row in layers.rows.values()),
        size_bytes=file_bytes + FLOAT32_BYTES * frozen,
        size_bytes_float16=file_bytes_float16 + FLOAT16_BYTES * frozen,
        file_bytes=file_bytes,
        file_bytes_float16=file_bytes_float16,
    )
    rows = tuple(LayerProfile(name, *row, memory.peaks[name]) for name, row in layers.rows.items())
    return Pass(counts, rows, memory.peaks[peak_at], peak_at)


def training_bytes(entry: Architecture, config: Any, samples: int, batch: int) -> int:
    """The most bytes alive at once in a step of training, besides the weights: maps kept for the backward pass, and gradients.

    Examples
    --------
    >>> from core.models.registry import architecture
    >>> entry = architecture("cnn6")
    >>> training_bytes(entry, entry.configure(), 160_000, 8) // 10**6
    304
    """
    network = empty_network(entry, config)
    memory = _LiveBytes(network)
    with memory, torch.enable_grad():
        network(torch.empty(batch, samples, device="meta")).sum().backward()
    return max(memory.peaks.values())


def thop_macs(entry: Architecture, config: Any, samples: int) -> int:
    """thop's count, as the paper used it: pooling and activations that are functions count 0, and so does the front end's FFT."""
    from thop import profile as thop_profile  # imports slowly, and only a profile needs it

    network = empty_network(entry, config)
    macs, _ = thop_profile(network, inputs=(torch.empty(1, samples, device="meta"),), verbose=False)
    return int(macs)


def flop_counter_macs(entry: Architecture, config: Any, samples: int) -> int:
    """Half of the operations that torch's ``FlopCounterMode`` sees, without the front end's; an addition counts as one for it."""
    from torch.utils.flop_counter import FlopCounterMode  # imports slowly, and only a cross-check needs it

    network = empty_network(entry, config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, samples, device="meta"))
    front = counter.get_flop_counts().get(f"{type(network).__name__}.front_end", {})
    return (counter.get_total_flops() - sum(front.values())) // 2


class _Layers:
    """The rows of a profile, in the order of the pass: (inputs, outputs, parameters, MACs) of each convolution and linear layer."""

    def __init__(self, network: Network, entry: Architecture) -> None:
        self.rows: dict[str, tuple[int, int, int, int]] = {}
        self.params = 0
        self._names = {layer.convolution: name for name, layer in entry.modules().items()}
        self._norms = {
            layer.convolution: network.get_submodule(layer.norm)
            for layer in entry.modules().values()
            if layer.norm
        }
        self._seen: set[str] = set()

    def name(self, path: str) -> str:
        """A module's layer, or else its path."""
        return self._names.get(path, path)

    def record(self, path: str, module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        if path.split(".")[0] == "front_end":
            return
        if path not in self._seen:
            self._seen.add(path)
            self.params += _parameters(module)
        if isinstance(module, Weighted):
            macs = output.numel() * module.weight[0].numel()
            name = self.name(path)
            before = self.rows[name][-1] if name in self.rows else 0
            params = _parameters(module) + (_parameters(self._norms[path]) if path in self._norms else 0)
            self.rows[name] = (
                module.weight.shape[1] * getattr(module, "groups", 1),
                module.weight.shape[0],
                params,
                before + macs,
            )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class _LiveBytes(TorchDispatchMode):
    """The most bytes that are alive at once in each step, other than the network's own: storages that something refers to."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        own = [*network.parameters(), *network.buffers()]
        self._own = {tensor.untyped_storage()._cdata for tensor in own}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peaks: dict[str, int] = {}
        self.step = FRONT_END

    def enter(self, step: str, *_: Any) -> None:
        """From here on it is another step."""
        self.step = step

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, out)):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._own:
                    self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._alive = {key: value for key, value in self._alive.items() if not value[0].expired()}
        now = sum(size for _, size in self._alive.values())
        self.peaks[self.step] = max(now, self.peaks.get(self.step, 0))
        return out
