"""Networks for tests of what runs them."""

from __future__ import annotations

import torch
from torch import nn

from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.models.fitting import Sized, resize, sizes_of
from core.models.frontend import shapes_only
from core.models.network import Network
from core.models.registry import ARCHITECTURES, architecture


def network(widths: tuple[int, ...], seed: int = 0) -> Cnn14:
    """Random weights whose activations stay in range, batch norms unlike each other."""
    torch.manual_seed(seed)
    model = Cnn14(Cnn14Config(widths, 9, 32)).eval()
    with torch.no_grad():
        model.bn0.running_mean.fill_(-40.0)
        model.bn0.running_var.fill_(400.0)
        for layer in LAYERS:
            torch.nn.init.kaiming_normal_(model.convolution(layer).weight)
            norm = model.batch_norm(layer)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.7, 1.4)
            norm.bias.uniform_(-0.2, 0.3)
    return model


WITHOUT_EXTRA = tuple(name for name, entry in ARCHITECTURES.items() if entry.extra is None)
"""The architectures that need no more than the dependencies; test_ast.py has the other."""

NARROWING = 8
"""Every width of every architecture is a multiple of it."""

_WAVEGRAM = {"pre_block3.conv2": "outputs", "pre_block3.bn2": "outputs", "pre_block4.conv1": "inputs"}
"""The channels that the wavegram reshapes into its bands."""


def narrow(name: str, classes: int, seed: int = 0) -> Network:
    """A network of any architecture, an eighth as wide as published, in eval mode; its statistics are not the initial ones."""
    entry = architecture(name)
    with shapes_only():
        published = entry.template()
    outputs_of_classes = (*published.output_layers, "att_block.bn_att")
    sizes = []
    for path, module in published.named_modules():
        if isinstance(module, Sized) and not (path == "bn0" and isinstance(module, nn.BatchNorm2d)):
            inputs, outputs = (max(1, size // NARROWING) for size in sizes_of(module))
            kept = _WAVEGRAM.get(path) if name.startswith("wavegram") else None
            if kept == "inputs":
                inputs = sizes_of(module)[0]
            elif kept == "outputs":
                outputs = sizes_of(module)[1]
            sizes.append((path, inputs, classes if path in outputs_of_classes else outputs))
    with shapes_only():
        resize(published, tuple(sizes))
    with torch.device("meta"):
        model = entry.build(entry.from_state(published.state_dict()))
    generator = torch.Generator().manual_seed(seed)
    state = {
        key: torch.zeros((), dtype=torch.int64)
        if value.ndim == 0
        else 0.5 + torch.rand(value.shape, generator=generator)
        if value.ndim == 1
        else torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    return model.eval()
