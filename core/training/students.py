"""Networks to train: new ones of any architecture, and existing ones with new outputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from core.audio import SAMPLE_RATE
from core.checkpoints import architecture_of
from core.errors import DataError, ModelError
from core.models.network import Network
from core.models.registry import Architecture
from core.models.registry import architecture as known_architecture
from core.training.mixtures import resample
from core.windows import clip_windows, least_samples


def entry_of(network: Network) -> Architecture:
    """The registry's entry of a network."""
    return known_architecture(architecture_of(network))


def new_network(architecture: str, width: float, classes: int) -> Network:
    """A network with random weights.

    Parameters
    ----------
    architecture : the registry's name.
    width : share of the filters in every layer, above 0 and at most 1; other than 1 for CNN14 on any front end.
    classes : outputs.

    Raises
    ------
    DataError
        The width is out of range, or the architecture has published widths only.
    ModelError
        There is no such architecture.

    Examples
    --------
    >>> new_network("cnn14", 0.25, 527).config.widths[-1]
    512
    """
    if not 0 < width <= 1:
        raise DataError(f"--width is a share of the filters, above 0 and at most 1; got {width:g}.")
    entry = known_architecture(architecture)
    if width == 1:
        return entry.build(entry.configure(classes=classes))
    published = entry.configure(classes=classes)
    try:
        config = entry.configure(
            widths=tuple(max(1, round(width * filters)) for filters in published.widths),
            classes=classes,
            embedding=max(1, round(width * published.embedding)),
        )
    except TypeError:
        raise DataError(
            f"{entry.title} is built with its published widths; leave --width out, or give CNN14."
        ) from None
    return entry.build(config)


def new_outputs(network: Network, classes: int) -> Network:
    """A copy whose output layer is new and random, for another number of classes; what precedes it stays as it is.

    Examples
    --------
    >>> wide = new_outputs(new_network("cnn14", 0.1, 18), 527)
    >>> wide.config.classes, wide.config.widths[0]
    (527, 6)
    """
    entry = entry_of(network)
    state = dict(network.state_dict())
    outputs = tuple(f"{layer}." for layer in network.output_layers)
    shapes = {
        name: value.new_zeros((classes, *value.shape[1:])) if name.startswith(outputs) else value
        for name, value in state.items()
    }
    fresh = entry.build(entry.from_state(shapes))
    try:
        fresh.load_state_dict(
            {name: v for name, v in state.items() if not name.startswith(outputs)}, strict=False
        )
    except RuntimeError as error:
        raise ModelError(f"{entry.title} cannot be given new outputs: {error}") from error
    return fresh.to(next(network.parameters()).device)


def at_rate(waveforms: Tensor, network: Network) -> Tensor:
    """Waveforms (batch, samples) at 32 kHz -> at the network's rate."""
    rate = entry_of(network).sample_rate
    return waveforms if rate == SAMPLE_RATE else resample(waveforms, waveforms.shape[1] * rate // SAMPLE_RATE)


def probabilities(network: Network, waveform: Tensor) -> Tensor:
    """Probabilities (classes,) of a waveform (samples,) at 32 kHz of any length, averaged over its windows."""
    entry = entry_of(network)
    spans = clip_windows(max(len(waveform), least_samples(entry)), entry)
    outputs = []
    for start, end in spans:
        window = at_rate(waveform[None, start:end], network)
        outputs.append(
            network.probabilities(F.pad(window, (0, max(0, entry.least_samples - window.shape[1]))))
        )
    return torch.cat(outputs).mean(0)
