"""Any network from its tensors' shapes: its published form, built without memory, is narrowed to what the tensors say.

Nothing here knows an architecture. Sizes are read off a state dict's shapes module by module; a pass on the meta device,
which computes shapes and no values, shows whether they fit each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from core.errors import ModelError
from core.models.network import Network

FRONT_END_KEYS = {
    "spectrogram_extractor.stft.conv_real.weight": lambda front: (front.n_fft // 2 + 1, 1, front.n_fft),
    "spectrogram_extractor.stft.conv_imag.weight": lambda front: (front.n_fft // 2 + 1, 1, front.n_fft),
    "logmel_extractor.melW": lambda front: (front.n_fft // 2 + 1, front.mel_bins),
}
"""The frozen front end's tensors in a published state dict, and their shapes."""

_LISTED = 3

Sized = nn.Conv1d | nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d
"""Modules with inputs and outputs that pruning changes."""


def fit(network: Network, state: Mapping[str, Tensor], samples: int) -> tuple[tuple[str, int, int], ...]:
    """Resize ``network``, which is published and on the meta device, to the shapes of ``state``.

    Parameters
    ----------
    network : Network
        The published network with its front end (``frontend.shapes_only``); it is changed.
    state : mapping of str to Tensor
        A state dict; only shapes are looked at. The published front end's frozen tensors are left out, or fit the network's.
    samples : int
        Length of the waveform that is sent through to see whether the shapes fit each other.

    Returns
    -------
    tuple of (str, int, int)
        What was resized: module, inputs, outputs.

    Raises
    ------
    ModelError
        Tensors are missing or unexpected, have another rank or kernel size, or do not fit each other.
    """
    check_keys(network, state)
    sizes = tuple(_changed(network, state))
    resize(network, sizes)
    check_shapes(network, state)
    try:
        with torch.no_grad():
            network.eval()(torch.empty(1, samples, device="meta"))
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"the tensors' shapes do not fit each other: {str(error).splitlines()[0]}"
        ) from error
    return sizes


def resize(network: nn.Module, sizes: tuple[tuple[str, int, int], ...]) -> None:
    """Give modules other numbers of inputs and outputs; their weights are new, random ones."""
    for path, inputs, outputs in sizes:
        module = cast(Sized, network.get_submodule(path))
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            _resize_norm(module, outputs)
            continue
        shape = (outputs, inputs)
        if isinstance(module, nn.Linear):
            module.in_features, module.out_features = inputs, outputs
        else:
            if depthwise(module):
                module.groups, shape = outputs, (outputs, 1)
            module.in_channels, module.out_channels = inputs, outputs
        module.weight = nn.Parameter(module.weight.new_empty(shape + module.weight.shape[2:]))
        if module.bias is not None:
            module.bias = nn.Parameter(module.bias.new_empty(outputs))
        module.reset_parameters()


def depthwise(module: nn.Module) -> bool:
    """Whether a module is a convolution with one filter a channel."""
    return (
        isinstance(module, nn.Conv1d | nn.Conv2d)
        and 1 < module.groups == module.in_channels == module.out_channels
    )


def sizes_of(module: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a convolution, a linear layer or a batch norm."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return module.in_channels, module.out_channels
    norm = cast(nn.BatchNorm2d, module)
    return norm.num_features, norm.num_features


def check_keys(network: Network, state: Mapping[str, Tensor]) -> None:
    """Raise ``ModelError`` unless the tensors have the network's names, ranks and kernel sizes, and its front end's shapes.

    Counters of training batches, which no output depends on, may be missing.
    """
    expected = learned(network.state_dict())
    differing = difference(expected, learned(state))
    if differing:
        raise ModelError(f"{differing}.")
    wrong = [key for key, value in expected.items() if _kernel(state[key]) != _kernel(value)]
    if wrong:
        raise ModelError(f"{counted('of another kind', [_shape(key, state[key]) for key in wrong])}.")
    front = network.published_front_end
    for key, shape in FRONT_END_KEYS.items():
        if key in state and (front is None or tuple(state[key].shape) != shape(front)):
            ours = f"instead of {shape(front)}" if front else "and the network has none"
            raise ModelError(f"it was trained with another front end: {_shape(key, state[key])} {ours}.")


def is_counter(name: str) -> bool:
    """Whether a tensor counts a batch norm's training batches, which no output depends on."""
    return name.endswith("num_batches_tracked")


def learned(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without its counters and the front end's frozen tensors."""
    return {key: value for key, value in state.items() if key not in FRONT_END_KEYS and not is_counter(key)}


def difference(expected: Iterable[str], names: Iterable[str]) -> str:
    """What is missing and what is unexpected in ``names``, in words; empty where they are the expected ones."""
    expected, own = list(expected), set(names)
    missing, unexpected = [key for key in expected if key not in own], sorted(own.difference(expected))
    return "; ".join(filter(None, (counted("missing", missing), counted("unexpected", unexpected))))


def check_shapes(network: Network, state: Mapping[str, Tensor]) -> None:
    """Raise ``ModelError`` unless the tensors, whose names are the network's, have its shapes."""
    wrong = [
        f"{_shape(key, state[key])} instead of {tuple(value.shape)}"
        for key, value in learned(network.state_dict()).items()
        if value.shape != state[key].shape
    ]
    if wrong:
        raise ModelError(f"{counted('of another shape', wrong)}.")


def _changed(network: nn.Module, state: Mapping[str, Tensor]) -> Iterator[tuple[str, int, int]]:
    for path, module in network.named_modules():
        if isinstance(module, Sized):
            shape = state[f"{path}.weight"].shape
            inputs = shape[1] if len(shape) > 1 and not depthwise(module) else shape[0]
            if (inputs, shape[0]) != sizes_of(module):
                yield path, inputs, shape[0]


def _resize_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, features: int) -> None:
    module.num_features = features
    for name in ("weight", "bias"):
        setattr(module, name, nn.Parameter(getattr(module, name).new_empty(features)))
    for name in ("running_mean", "running_var"):
        setattr(module, name, getattr(module, name).new_empty(features))
    module.reset_parameters()


def _kernel(tensor: Tensor) -> tuple[int, ...]:
    """What pruning leaves as it is: the rank, and the size of a kernel."""
    return (tensor.ndim, *tensor.shape[2:])


def counted(what: str, keys: list[str]) -> str:
    """``2 missing (a, b)``, with the first three named; empty where there are none."""
    return f"{len(keys)} {what} ({_some(keys)})" if keys else ""


def _some(items: list[str]) -> str:
    shown = ", ".join(item[:120] if item.isprintable() else ascii(item[:120]) for item in items[:_LISTED])
    return shown + (f" and {len(items) - _LISTED} more" if len(items) > _LISTED else "")


def _shape(key: str, tensor: Tensor) -> str:
    return f"{key} {tuple(tensor.shape)}"
