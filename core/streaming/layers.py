"""What runs the layers of a stream: torch, or Pannscope's own kernels (``kernels``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from core.models.cnn import LAYERS, Cnn14
from core.runtime.winograd.maps import Workspace
from core.streaming.columns import Array, Run


@dataclass(frozen=True)
class Layers:
    """C1 to C12 for one stream.

    Attributes
    ----------
    name : of what runs them.
    model : the network.
    runs : the layers. C1 takes (1, frames, mel_bins); C12 returns its means over the bands, (planes, columns).
    space : their buffers.
    """

    name: str
    model: Cnn14
    runs: Sequence[Run]
    space: Workspace = field(default_factory=Workspace)


def torch_layers(model: Cnn14) -> Layers:
    """On maps (planes, columns, bands), with the network's own weights."""

    def layer(name: str) -> Run:
        def run(parts: Sequence[Array]) -> Array:
            with torch.inference_mode():
                maps = model.layer(name, torch.from_numpy(np.concatenate(parts, axis=1))[None])[0]
                return (maps.mean(dim=2) if name == LAYERS[-1] else maps).numpy()

        return run

    return Layers("torch", model, [layer(name) for name in LAYERS])
