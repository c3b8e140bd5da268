"""The layers of a network that can be pruned: its convolutions, and the batch norm that follows each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from core.models.fitting import depthwise
from core.models.network import Network


class LayerModules(NamedTuple):
    """Module paths of a layer: its convolution, and the batch norm of its output (None where something else follows)."""

    convolution: str
    norm: str | None


def convolutions(network: Network, samples: int, *, numbered: bool) -> Mapping[str, LayerModules]:
    """The convolutions that a pass reaches, in the order of the pass.

    Depthwise convolutions are left out: they lose the filters of the layer that they follow. So are output layers, whose filters
    are classes, and modules that a state dict stores and the network never uses.

    Parameters
    ----------
    network : Network
        On the meta device, with its front end.
    samples : int
        Length of the waveform.
    numbered : bool
        Name them C1, C2 …, as the papers do; otherwise by their module path, as ``resnet.layer1.0.conv1``.
    """
    norms: dict[str, str | None] = {}
    producers: list[tuple[Tensor, str]] = []  # keeps the tensors, so that no other can take their place

    def record(path: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before = next((name for tensor, name in producers if tensor is inputs[0]), None)
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            if not depthwise(module):
                norms[path] = None
                producers.append((output, path))
        elif before is None:
            return
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            norms[before] = path
        elif isinstance(module, nn.AvgPool1d | nn.AvgPool2d):
            producers.append((output, before))

    with traced(network, record):
        network(torch.empty(1, samples, device="meta"))
    paths = [path for path in norms if path not in network.output_layers]
    names = [f"C{number}" for number in range(1, len(paths) + 1)] if numbered else paths
    return {name: LayerModules(path, norms[path]) for name, path in zip(names, paths, strict=True)}


@contextmanager
def traced(
    network: nn.Module, record: Callable[[str, nn.Module, tuple[Tensor, ...], Tensor], None]
) -> Iterator[None]:
    """``record(path, module, inputs, output)`` is called after every module without parts has run; there are no gradients."""
    handles = [
        module.register_forward_hook(partial(record, path))
        for path, module in network.named_modules()
        if not any(True for _ in module.children())
    ]
    try:
        with torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
