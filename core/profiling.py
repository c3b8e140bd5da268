"""Counting what a network costs, and measuring how long it takes.

Conventions, since a count means nothing without one:

- ``params_total`` counts every tensor a published state dict learns or freezes: convolutions, batch norms' weight and bias, linear
  layers, and the front end's two Conv1d kernels and mel matrix. ``params_trainable`` leaves the front end out.
- ``macs`` is the paper's: what thop counts for one clip (a multiply-accumulate is one MAC), with the short-time Fourier
  transform as the reference's two Conv1d layers and batch norms included. Pannscope's own front end is an FFT and costs less.
- ``macs_network`` is convolution and linear layers alone, which is half of what torch's flop counter reports.
- ``size_bytes`` is the state dict in float32, running statistics and front end included, as the published files store it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from core.errors import ModelError
from core.logmel import FRONT_END
from core.models.cnn import LAYERS, MIN_SAMPLES, Cnn14, Cnn14Config, ends_block
from core.models.registry import architecture as find_architecture
from core.pruning.plan import PAPER_LAYERS, pruned_widths
from core.tagging import Tagger

PAPER: dict[float, dict[str, float]] = {
    0.0: {"params_reduction_pct": 0, "macs_reduction_pct": 0, "mAP": 0.431},
    0.25: {"params_reduction_pct": 41, "macs_reduction_pct": 24, "mAP": 0.442},
    0.5: {"params_reduction_pct": 70, "macs_reduction_pct": 36, "mAP": 0.440},
    0.75: {"params_reduction_pct": 78, "macs_reduction_pct": 46, "mAP": 0.420},
}
"""What the E-PANNs paper (Singh et al., Inter-Noise 2023) states for CNN14 with this share of C7..C12 removed."""

MAX_SECONDS = 86_400


@dataclass(frozen=True)
class LayerProfile:
    """One layer's channels, learned parameters (its batch norm's included) and MACs of the layer itself."""

    name: str
    in_channels: int
    out_channels: int
    params: int
    macs: int


@dataclass(frozen=True)
class Profile:
    """A network's counts for one clip of ``seconds``; see the module for the conventions.

    ``paper`` has what the E-PANNs paper states for a network of this configuration, None where it has none.
    """

    architecture: str
    seconds: float
    params_total: int
    params_trainable: int
    macs: int
    macs_network: int
    size_bytes: int
    layers: tuple[LayerProfile, ...]
    paper: dict[str, float] | None = None

    def document(self) -> dict[str, Any]:
        """What ``pannscope profile --json`` prints."""
        return vars(self) | {"layers": [vars(layer).copy() for layer in self.layers]}


@dataclass(frozen=True)
class Latency:
    """Measured time of one clip, waveform to probabilities: median and range over ``repeats`` warm runs."""

    median_ms: float
    low_ms: float
    high_ms: float
    repeats: int


def profile(
    architecture: str = "cnn14",
    *,
    widths: Sequence[int] | None = None,
    classes: int = 527,
    embedding: int = 2048,
    ratio: float | None = None,
    layers: Sequence[str] = PAPER_LAYERS,
    seconds: float = 10.0,
) -> Profile:
    """Count a network that need not exist yet.

    Parameters
    ----------
    architecture : a name of the registry.
    widths, classes, embedding : its configuration; the published CNN14 by default.
    ratio, layers : share of filters removed from each of these layers first.
    seconds : length of the clip that MACs are counted for.

    Raises
    ------
    ModelError, PruningError
        If the configuration, the ratio or the length is impossible.
    """
    chosen = find_architecture(architecture)
    base = chosen.configure(
        classes=classes, embedding=embedding, **({"widths": tuple(widths)} if widths else {})
    )
    config = base
    if ratio is not None:
        config = Cnn14Config(pruned_widths(ratio, layers, base.widths), classes, embedding)
    return _count(config, seconds)


def profile_model(model: Cnn14, seconds: float = 10.0) -> Profile:
    """Count a network by its configuration; the network itself is not touched."""
    return _count(model.config, seconds)


def measure_latencies(
    taggers: Sequence[Tagger], waveform: np.ndarray, repeats: int = 7, warmup: int = 1
) -> tuple[Latency, ...]:
    """Time taggers on a waveform (samples,), turn about, after ``warmup`` rounds that do not count.

    One after the other in every round, so that whatever else the machine does in between slows all of them alike.
    """
    times: list[list[float]] = [[] for _ in taggers]
    for turn in range(warmup + repeats):
        for tagger, taken in zip(taggers, times, strict=True):
            started = time.perf_counter()
            tagger.probabilities(waveform)
            if turn >= warmup:
                taken.append(1e3 * (time.perf_counter() - started))
    return tuple(Latency(float(np.median(taken)), min(taken), max(taken), repeats) for taken in times)


@lru_cache(maxsize=64)
def _thop_macs(config: Cnn14Config, frames: int) -> int:
    """thop's count of the network on a log-mel of ``frames``, by a copy on the meta device (no memory, no arithmetic)."""
    from thop import profile as thop_profile  # imports slowly, and only a profile needs it

    with torch.device("meta"):
        model = Cnn14(config).eval()
        logmel = torch.zeros(1, 1, frames, FRONT_END.mel_bins)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model.network(x)

    macs, _ = thop_profile(Network(), inputs=(logmel,), verbose=False)
    return int(macs)


def _paper(config: Cnn14Config) -> dict[str, float] | None:
    """The paper's figures, where it has a network of exactly this configuration."""
    for ratio, figures in PAPER.items():
        if config == Cnn14Config(pruned_widths(ratio)):
            return figures
    return None


def _count(config: Cnn14Config, seconds: float) -> Profile:
    if not seconds <= MAX_SECONDS:
        raise ModelError(
            f"A clip of {seconds:g} s cannot be counted; give its length in seconds, such as 10, up to {MAX_SECONDS:,} (a day)."
        )
    samples = round(seconds * FRONT_END.sample_rate)
    if samples < MIN_SAMPLES:
        raise ModelError(
            f"A clip of {seconds:g} s is shorter than CNN14 can listen to; count for at least "
            f"{MIN_SAMPLES / FRONT_END.sample_rate:.2f} s."
        )
    frames = FRONT_END.frames(samples)
    layers = _layers(config, frames)
    with torch.device("meta"):
        model = Cnn14(config)
    trainable = sum(parameter.numel() for parameter in model.parameters())
    stored = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return Profile(
        architecture="cnn14",
        seconds=seconds,
        params_total=trainable + FRONT_END.frozen_parameters,
        params_trainable=trainable,
        macs=_thop_macs(config, frames) + frames * FRONT_END.stft_parameters,
        macs_network=sum(layer.macs for layer in layers),
        size_bytes=stored + 4 * FRONT_END.frozen_parameters,
        layers=layers,
        paper=_paper(config),
    )


def _layers(config: Cnn14Config, frames: int) -> tuple[LayerProfile, ...]:
    with torch.device("meta"):
        model = Cnn14(config)
    found = []
    height, width = frames, FRONT_END.mel_bins
    for position, name in enumerate(LAYERS):
        conv = model.convolution(name)
        weights = conv.weight.numel()
        learned = weights + 2 * conv.out_channels  # and the batch norm's weight and bias
        found.append(
            LayerProfile(name, conv.in_channels, conv.out_channels, learned, weights * height * width)
        )
        if ends_block(name) and position < len(LAYERS) - 1:
            height, width = height // 2, width // 2
    for name in ("fc1", "fc_audioset"):
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        weights = linear.weight.numel()
        found.append(
            LayerProfile(
                name, linear.in_features, linear.out_features, weights + linear.out_features, weights
            )
        )
    return tuple(found)
