"""The layers of a stream on Pannscope's own kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.models.cnn import Cnn14
from core.runtime.winograd.engine import WinogradEngine
from core.runtime.winograd.layer import Layer
from core.runtime.winograd.maps import Workspace, close
from core.streaming.columns import Array, Run
from core.streaming.layers import Layers


def winograd_layers(model: Cnn14, engine: WinogradEngine) -> Layers:
    """On maps (chunks of planes, columns, bands, lanes), with the engine's weights."""
    first, others = engine.layers_for_few_columns()
    space = Workspace()

    def run_first(parts: Sequence[Array]) -> Array:
        logmel = np.concatenate(parts, axis=1)[0]
        return first.run(logmel, space, "output")[:, 1 : len(logmel) + 1, 1:-1]

    def layer(of: Layer) -> Run:
        def run(parts: Sequence[Array]) -> Array:
            columns = sum(part.shape[1] for part in parts)
            chunks, _, bands, lanes = parts[-1].shape
            maps = space.maps("input", chunks, columns, bands, lanes, rows=columns)
            np.concatenate(parts, axis=1, out=maps[:, 1 : columns + 1, 1:-1])
            close(maps, columns)
            output, columns, bands = of.run(maps, columns, bands, space, "output")
            return output[:, 1 : columns + 1, 1 : bands + 1]

        return run

    def run_last(parts: Sequence[Array]) -> Array:
        maps = last(parts).mean(axis=2)  # (chunks, columns, lanes)
        return maps.transpose(0, 2, 1).reshape(-1, maps.shape[1])[: model.config.widths[-1]]

    *inner, last = [layer(of) for of in others]
    return Layers(engine.name, model, [run_first, *inner, run_last], space)
