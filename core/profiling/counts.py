"""Parameters, MACs and bytes of a CNN14 in closed form: from its widths alone, without building it.

The same figures as counting a network that exists, tensor by tensor and call by call (the tests hold them against thop, torch's
flop counter and real state dicts), in microseconds, so that a curve over all ratios is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import ModelError
from core.models.cnn import LAYERS, Cnn14Config, ends_block
from core.models.frontend import FRONT_END
from core.models.registry import Architecture, architecture

CNN14 = architecture("cnn14")

MAX_SECONDS = 86_400

_TAPS = 9  # 3 x 3 kernels throughout

# thop 0.1.1 counts 2 operations an element that enters a batch norm, and twice that where it has a weight and a bias
# (thop/vision/basic_hooks.py, count_normalization). All of CNN14's have.
THOP_BATCH_NORM = 4

FLOAT32_BYTES, FLOAT16_BYTES, COUNTER_BYTES = 4, 2, 8
"""Bytes of a weight, of one in half precision, and of a batch norm's int64 ``num_batches_tracked``."""


@dataclass(frozen=True)
class LayerProfile:
    """One layer's channels, learned parameters (its batch norm's included) and MACs (the layer's alone).

    ``activation_bytes`` is the most memory in use while the pass computes this layer (``core.profiling.memory``).
    """

    name: str
    in_channels: int
    out_channels: int
    params: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class Counts:
    """The totals of one configuration; the package docstring defines them.

    ``params_paper`` is thop's count of parameters, which the paper's percentages follow: the learned ones and the STFT's two
    Conv1d kernels, but not the mel matrix.
    """

    params_total: int
    params_trainable: int
    params_paper: int
    macs: int
    macs_network: int
    size_bytes: int
    size_bytes_float16: int
    file_bytes: int
    file_bytes_float16: int


def samples_of(seconds: float, entry: Architecture = CNN14) -> int:
    """Samples of a clip of ``seconds``; raises ``ModelError`` for one that is too long to count for, or that the network does not accept."""
    if not seconds <= MAX_SECONDS:
        raise ModelError(
            f"A clip of {seconds:g} s cannot be counted; give its length in seconds, such as 10, up to {MAX_SECONDS:,} (a day)."
        )
    samples = round(seconds * entry.sample_rate)
    if entry.window_samples is not None and samples != entry.window_samples:
        raise ModelError(
            f"{entry.title} takes clips of {entry.window_samples / entry.sample_rate:g} s and no others; got {seconds:g} s."
        )
    if samples < entry.least_samples:
        raise ModelError(
            f"A clip of {seconds:g} s is shorter than {entry.title} accepts; count for at least "
            f"{entry.least_samples / entry.sample_rate:.2f} s."
        )
    return samples


def map_sizes(samples: int) -> tuple[tuple[int, int], ...]:
    """Frames and bands of the output of C1..C12 for a waveform, before the pooling that ends a block."""
    frames, bands = FRONT_END.frames(samples), FRONT_END.mel_bins
    sizes = []
    for layer in LAYERS:
        sizes.append((frames, bands))
        if ends_block(layer):
            frames, bands = frames // 2, bands // 2
    return tuple(sizes)


def layer_counts(config: Cnn14Config, samples: int) -> tuple[tuple[str, int, int, int, int], ...]:
    """(name, inputs, outputs, parameters, MACs) of C1..C12, fc1 and fc_audioset, for a waveform of ``samples``."""
    layers = []
    inputs = 1
    for layer, filters, (frames, bands) in zip(LAYERS, config.widths, map_sizes(samples), strict=True):
        weights = _TAPS * inputs * filters
        layers.append((layer, inputs, filters, weights + 2 * filters, weights * frames * bands))
        inputs = filters
    for name, outputs in (("fc1", config.embedding), ("fc_audioset", config.classes)):
        layers.append((name, inputs, outputs, inputs * outputs + outputs, inputs * outputs))
        inputs = outputs
    return tuple(layers)


def count(config: Cnn14Config, seconds: float = 10.0) -> Counts:
    """Count a configuration for a clip of ``seconds`` in one pass; raises ``ModelError`` for an impossible length.

    Examples
    --------
    >>> counts = count(Cnn14Config())
    >>> counts.params_trainable, counts.macs_network
    (80753615, 20041926656)
    """
    samples = samples_of(seconds)
    frames = FRONT_END.frames(samples)
    layers = layer_counts(config, samples)
    norms = FRONT_END.mel_bins + sum(config.widths)
    trainable = 2 * FRONT_END.mel_bins + sum(params for *_, params, _ in layers)
    matrices = sum(params for *_, params, _ in layers) - 2 * sum(config.widths)
    matrices -= config.embedding + config.classes  # the rest are kernels and the linear layers' weights
    vectors = trainable - matrices + 2 * norms  # running mean and variance are stored, though not learned
    counters = COUNTER_BYTES * (len(LAYERS) + 1)
    network = sum(macs for *_, macs in layers)
    normalised = frames * FRONT_END.mel_bins + sum(
        filters * height * width
        for filters, (height, width) in zip(config.widths, map_sizes(samples), strict=True)
    )
    file_bytes = FLOAT32_BYTES * (matrices + vectors) + counters
    # As ``save_checkpoint(half=True)`` stores it: vectors stay float32.
    file_bytes_float16 = FLOAT16_BYTES * matrices + FLOAT32_BYTES * vectors + counters
    return Counts(
        params_total=trainable + FRONT_END.frozen_parameters,
        params_trainable=trainable,
        params_paper=trainable + FRONT_END.stft_parameters,
        macs=network + THOP_BATCH_NORM * normalised + frames * FRONT_END.stft_parameters,
        macs_network=network,
        size_bytes=file_bytes + FLOAT32_BYTES * FRONT_END.frozen_parameters,
        size_bytes_float16=file_bytes_float16 + FLOAT16_BYTES * FRONT_END.frozen_parameters,
        file_bytes=file_bytes,
        file_bytes_float16=file_bytes_float16,
    )
