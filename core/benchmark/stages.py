"""The time of one clip by stage in our own engines: decoding the file, the front end, the network, and each of its layers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.audio import load_clip
from core.benchmark.clips import Waveforms
from core.models.cnn import LAYERS, Cnn14
from core.models.network import Network
from core.runtime.engine import Engine, TorchEngine

_PASSES = 5
_PASSES_OF_LONG, _LONG_SECONDS = 3, 20.0


def stage_times(
    model: Network, engine: Engine, recording: Path, waveforms: Waveforms
) -> dict[str, dict[str, float]]:
    """Medians in ms over a few passes, after one for warming up.

    Parameters
    ----------
    model : the network that ``engine`` runs; its front end, and for torch its layers, are timed.
    recording : a file of the clip's length, which ``load_clip`` decodes, mixes and resamples.
    waveforms : (batch, samples); the first one is used.

    Returns
    -------
    "stages_ms" : decode, front end, and network, which is the engine's whole pass less the front end.
    "layers_ms" : C1 to C12 and the rest, each timed alone, one after another; empty for an engine without ``layer_times(logmel)``.
    """
    waveform = torch.from_numpy(waveforms[:1])
    of_layers = getattr(engine, "layer_times", None)
    if of_layers is None and isinstance(engine, TorchEngine) and isinstance(model, Cnn14):
        of_layers = lambda logmel: _torch_layer_times(model, torch.from_numpy(logmel)[None])  # noqa: E731
    seconds = waveforms.shape[1] / 32_000
    stages: list[dict[str, float]] = []
    layers: list[dict[str, float]] = []
    for _ in range(1 + (_PASSES if seconds < _LONG_SECONDS else _PASSES_OF_LONG)):
        decode, _ = _timed(lambda: load_clip(recording))
        front_end, logmel = _timed(lambda: _front_end(model, waveform))
        whole, _ = _timed(lambda: engine.probabilities(waveform))
        stages.append({"decode": decode, "front end": front_end, "network": whole - front_end})
        layers.append(of_layers(logmel[0].numpy()) if of_layers else {})
    return {"stages_ms": _medians(stages[1:]), "layers_ms": _medians(layers[1:])}


def _medians(passes: list[dict[str, float]]) -> dict[str, float]:
    return {stage: float(np.median([taken[stage] for taken in passes])) for stage in passes[0]}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return 1e3 * (time.perf_counter() - started), result


def _front_end(model: Network, waveform: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.front_end(waveform)


def _torch_layer_times(model: Cnn14, logmel: torch.Tensor) -> dict[str, float]:
    times = {}
    with torch.inference_mode():
        x = model.normalize(logmel)
        for layer in LAYERS:
            times[layer], x = _timed(lambda layer=layer, x=x: model.layer(layer, x))  # type: ignore[misc]
        times["rest"], _ = _timed(lambda: torch.sigmoid(model.head(x)))
    return times
