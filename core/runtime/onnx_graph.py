"""Any network as an ONNX graph, by PyTorch's exporter, and its weights beside it.

The exporter traces the network with its weights as inputs, which then become the graph's initializers by name: it neither copies nor
folds them. With the weights as parameters, it took 4 s and three copies for ResNet38 where this takes 0.4 s. Of its two modes this is the
one that traces; the other (``dynamo=True``) needs two more packages and 12 s for a CNN14 of a quarter of the width.
"""

from __future__ import annotations

import copy
import importlib
import io
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.network import Network
from core.models.registry import architecture

OPSET = 18
"""onnxruntime runs it since 1.14 (2023)."""

PROBABILITIES, EMBEDDING = "probabilities", "embedding"

_TRACED_SECONDS = 0.5
"""At least; the graph is the same for any length."""

_exporting = threading.Lock()  # the exporter refuses a second export at the same time


@dataclass(frozen=True, eq=False)
class OnnxGraph:
    """A graph without its weights.

    Attributes
    ----------
    model : onnx.ModelProto
        Its inputs are the data alone; nodes name the weights.
    inputs : names of the data inputs.
    weights : tensors of the network by the names that nodes have for them, float32, in the state dict's order.
    """

    model: Any
    inputs: tuple[str, ...]
    weights: dict[str, Tensor]


class _Whole(nn.Module):
    """Waveforms (batch, samples) of any length -> probabilities and embeddings."""

    def __init__(self, network: Network, least_samples: int | None) -> None:
        super().__init__()
        self.network, self.least_samples = network, least_samples

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        if self.least_samples is not None:  # pads with silence, as ``core.windows`` does
            missing = (self.least_samples - torch.as_tensor(waveform.shape[1])).clamp(min=0)
            waveform = F.pad(waveform, (0, missing))  # type: ignore[arg-type]
        return self.network.outputs_of(self.network.feature_maps(self.network.front_end(waveform)))


class _Body(nn.Module):
    """What the front end returns -> probabilities and embeddings."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.outputs_of(self.network.feature_maps(inputs[0] if len(inputs) == 1 else inputs))


class _Stateless(nn.Module):
    """A module whose tensors are arguments: ``forward(*inputs, *tensors)``."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        tensors = (*module.parameters(), *module.buffers())
        # A copy of the modules with the same tensors; in a tuple, so that they are not this module's own parameters.
        self._module = (copy.deepcopy(module, {id(tensor): tensor for tensor in tensors}),)
        self._names = names

    def forward(self, *arguments: Tensor) -> Any:
        (module,) = self._module
        inputs = len(arguments) - len(self._names)
        for name, tensor in zip(self._names, arguments[inputs:], strict=True):
            path, _, leaf = name.rpartition(".")
            owner = module.get_submodule(path)
            (owner._parameters if leaf in owner._parameters else owner._buffers)[leaf] = tensor  # type: ignore[assignment]
        return module(*arguments[:inputs])


def whole_graph(network: Network) -> OnnxGraph:
    """``waveform`` (batch, samples) at the architecture's rate -> ``probabilities`` (batch, classes), ``embedding`` (batch, units).

    Any number of samples, where the architecture takes any: fewer than it needs are padded with silence.
    """
    entry = architecture(network.architecture)
    fixed = entry.window_samples
    samples = fixed or max(entry.least_samples, round(_TRACED_SECONDS * entry.sample_rate))
    axes = {"waveform": {0: "batch"} if fixed else {0: "batch", 1: "samples"}}
    module = _Whole(network, None if fixed else entry.least_samples)
    return _graph(module, {"waveform": torch.zeros(1, samples)}, axes)


def body_graph(network: Network) -> OnnxGraph:
    """The same from what the front end returns: its inputs are ``input0``, …"""
    entry = architecture(network.architecture)
    samples = entry.window_samples or max(entry.least_samples, round(_TRACED_SECONDS * entry.sample_rate))
    short, long = (front_end_outputs(network, torch.zeros(1, length)) for length in (samples, 2 * samples))
    names = [f"input{number}" for number in range(len(short))]
    axes = {
        name: {0: "batch"}
        | {
            axis: f"{name}_frames"
            for axis, (one, two) in enumerate(zip(first.shape, second.shape, strict=True))
            if one != two
        }
        for name, first, second in zip(names, short, long, strict=True)
    }
    return _graph(_Body(network), dict(zip(names, short, strict=True)), axes)


def front_end_outputs(network: Network, waveforms: Tensor) -> tuple[Tensor, ...]:
    """What the front end returns, as a tuple."""
    with torch.no_grad():
        returned = network.front_end(waveforms)
    return returned if isinstance(returned, tuple) else (returned,)


def _graph(module: nn.Module, inputs: dict[str, Tensor], axes: dict[str, dict[int, str]]) -> OnnxGraph:
    onnx = importlib.import_module("onnx")
    state = {
        name: tensor.detach() for name, tensor in module.state_dict().items() if tensor.is_floating_point()
    }
    weights = {name.removeprefix("network."): tensor for name, tensor in state.items()}
    exported = io.BytesIO()
    with _exporting, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lengths that become part of the graph, and of this mode's age
        torch.onnx.export(
            _Stateless(module, tuple(state)).eval(),
            (*inputs.values(), *weights.values()),
            exported,  # type: ignore[arg-type]  # a file object is accepted, too
            input_names=[*inputs, *weights],
            output_names=[PROBABILITIES, EMBEDDING],
            dynamic_axes=axes | {PROBABILITIES: {0: "batch"}, EMBEDDING: {0: "batch"}},
            opset_version=OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
    model = onnx.load_from_string(exported.getvalue())
    data = [given for given in model.graph.input if given.name in inputs]
    del model.graph.input[:]
    model.graph.input.extend(data)
    used = {name for node in model.graph.node for name in node.input}
    kept = {name: tensor for name, tensor in weights.items() if name in used}
    return OnnxGraph(model, tuple(inputs), kept)
