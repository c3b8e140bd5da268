"""Networks for tests of what runs them."""

from __future__ import annotations

import torch

from core.models.cnn import LAYERS, Cnn14, Cnn14Config


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
