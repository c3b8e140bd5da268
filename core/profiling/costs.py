"""What a network of any widths costs, without building it: an exact polynomial in the numbers of channels.

A module's parameters and MACs are products of its inputs and outputs, or proportional to one of them, and which of these belong to which
group of layers is known (``core.models.groups``). So the cost of a network is k + l w + w Q w, w being the channels that each group keeps, and
its coefficients follow from one count of the unpruned network: a candidate costs microseconds, where counting it takes up to 0.1 s.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch

from core.models.fitting import Sized, depthwise, sizes_of
from core.models.groups import INPUTS, OUTPUTS, groups
from core.models.registry import architecture, empty_network
from core.models.trace import Trace, trace
from core.profiling.counted import counted

Quantity = Literal["params", "macs"]

SECONDS = 10.0
"""MACs are counted for AudioSet's clips, or for the only length that a network takes; the shares barely depend on it."""


class Costs:
    """The parameters, or the MACs in the paper's convention, of a network of any widths.

    Attributes
    ----------
    unpruned : (groups,) float64
        Every group's channels before pruning.

    Examples
    --------
    >>> parameters = costs("cnn6", architecture("cnn6").configure())["params"]
    >>> parameters.of(np.array([64, 128, 256, 512])), parameters.of(np.array([64, 128, 256, 256]))
    (4837455.0, 3067471.0)
    """

    def __init__(self, unpruned: np.ndarray) -> None:
        self.unpruned = unpruned
        self._constant = 0.0
        self._linear = np.zeros(len(unpruned))
        self._product = np.zeros((len(unpruned), len(unpruned)))

    def add(self, total: float, *factors: np.ndarray) -> None:
        """Add what costs ``total`` in the unpruned network.

        It is proportional to one count, or to the product of two; ``factors`` are how many of each count a group's channel stands for,
        (groups + 1,), the last of them those that no group has.
        """
        whole = np.append(self.unpruned, 1.0)
        scale = total / np.prod([factor @ whole for factor in factors])
        if len(factors) == 1:
            self._linear += scale * factors[0][:-1]
            self._constant += scale * factors[0][-1]
            return
        inputs, outputs = factors
        self._constant += scale * inputs[-1] * outputs[-1]
        self._linear += scale * (inputs[-1] * outputs[:-1] + outputs[-1] * inputs[:-1])
        product = np.outer(inputs[:-1], outputs[:-1])
        self._product += scale * (product + product.T) / 2

    def complete(self, total: float) -> None:
        """Add what no group changes, so that the unpruned network costs ``total``."""
        self._constant += total - self.of(self.unpruned)

    def of(self, channels: np.ndarray) -> float:
        """The cost where the groups have so many channels; exact, as whole numbers of this size are."""
        return float(self._constant + self._linear @ channels + channels @ self._product @ channels)

    def along(self, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The cost as a polynomial in each single group's channels: (groups,) constants, slopes and factors of the square."""
        squares = np.diag(self._product)
        slopes = self._linear + 2 * (self._product @ channels - squares * channels)
        return self.of(channels) - (slopes + squares * channels) * channels, slopes, squares


@lru_cache(maxsize=16)
def costs(name: str, config: Any) -> dict[Quantity, Costs]:
    """The costs of a network of this architecture and configuration when its groups are narrower."""
    entry = architecture(name)
    network = empty_network(entry, config)
    samples = entry.window_samples or round(SECONDS * entry.sample_rate)
    steps, found = trace(network, samples), groups(name, config)
    counts = counted(name, config, samples / entry.sample_rate)
    unpruned = np.array([group.channels for group in found], np.float64)
    result: dict[Quantity, Costs] = {"params": Costs(unpruned), "macs": Costs(unpruned)}
    factors: dict[tuple[str, int], np.ndarray] = {}
    for path, module in network.named_modules():
        for axis in (OUTPUTS, INPUTS) if isinstance(module, Sized) else ():
            factors[path, axis] = np.append(np.zeros(len(found)), sizes_of(module)[1 - axis])
    for column, group in enumerate(found):
        for member in group.members:
            factor = factors[member.path, member.axis]
            factor[column] += member.index.shape[1]
            factor[-1] -= member.index.numel()
    operations = _operations(network, samples)
    for path, module in network.named_modules():
        if isinstance(module, Sized):
            outputs = factors[path, OUTPUTS]
            matrix = (
                isinstance(module.weight, torch.Tensor) and module.weight.ndim > 1 and not depthwise(module)
            )
            both = (factors[path, INPUTS], outputs) if matrix else (outputs,)
            result["params"].add(module.weight.numel(), *both)
            result["params"].add(0 if module.bias is None else module.bias.numel(), outputs)
            result["macs"].add(operations.get(path, 0.0), *both)
        elif operations.get(path):
            sources = _sources(steps, path, factors)
            if sources:
                result["macs"].add(operations[path], np.sum(sources, axis=0))
    result["params"].complete(counts.params_trainable)
    result["macs"].complete(counts.macs)
    return result


def _operations(network: torch.nn.Module, samples: int) -> dict[str, float]:
    """thop's count of every module, by path."""
    from thop import profile as thop_profile  # imports slowly

    *_, layers = thop_profile(
        network, inputs=(torch.empty(1, samples, device="meta"),), verbose=False, ret_layer_info=True
    )
    result = {}

    def flatten(parts: dict[str, Any], prefix: str) -> None:
        for name, (operations, _, inside) in parts.items():
            result[prefix + name] = operations
            flatten(inside, f"{prefix}{name}.")

    flatten(layers, "")
    return result


def _sources(steps: Trace, path: str, factors: dict[tuple[str, int], np.ndarray]) -> list[np.ndarray]:
    """Whose channels a module without weights passes on, a pooling: the outputs of what comes before it."""
    made = {step.output: step for step in steps.steps}
    at = steps.position(path)
    waiting, sources = list(steps.steps[at].inputs) if at is not None else [], []
    while waiting:
        step = made.get(waiting.pop())
        if step is None:
            continue
        if (step.target, OUTPUTS) in factors:
            sources.append(factors[str(step.target), OUTPUTS])
        else:
            # What is added has the same channels; what is concatenated has others.
            waiting += step.inputs if step.target is torch.cat else step.inputs[:1]
    return sources
