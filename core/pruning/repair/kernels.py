"""Convolutions of one dimension or two as the least squares see them: a kernel, and what it takes at some positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution without groups; one of one dimension has maps of height 1.

    Attributes
    ----------
    weight : (filters, inputs, height, width) Tensor
        A view of the module's.
    bias : (filters,) Tensor or None
        The module's.
    stride, padding, dilation : tuple of two int
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @classmethod
    def of(cls, module: nn.Module) -> Kernel:
        """The kernel of a Conv1d or Conv2d."""
        assert isinstance(module, nn.Conv1d | nn.Conv2d)
        flat = isinstance(module, nn.Conv1d)
        weight = module.weight.unsqueeze(2) if flat else module.weight

        def pair(sizes: tuple[int, ...], along: int) -> tuple[int, int]:
            return (along, sizes[0]) if flat else (sizes[0], sizes[1])

        assert not isinstance(module.padding, str)
        return cls(
            weight, module.bias, pair(module.stride, 1), pair(module.padding, 0), pair(module.dilation, 1)
        )


def size_of(x: Tensor) -> tuple[int, int]:
    """Height and width of feature maps (1, channels, height, width), or of (1, channels, width), whose height is 1."""
    return (x.shape[2], x.shape[3]) if x.dim() == 4 else (1, x.shape[2])


def output_size(size: tuple[int, int], kernel: Kernel) -> tuple[int, int]:
    """Height and width of the outputs of a convolution."""
    taps = kernel.weight.shape[2:]
    options = zip(size, taps, kernel.stride, kernel.padding, kernel.dilation, strict=True)
    height, width = (
        (n + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for n, k, stride, pad, dilation in options
    )
    return height, width


def at(x: Tensor, positions: Tensor) -> Tensor:
    """Feature maps (1, channels, …) at some positions of both axes, flattened: (positions, channels)."""
    return x[0].flatten(1)[:, positions].T


def patches(x: Tensor, positions: Tensor, kernel: Kernel) -> Tensor:
    """A kernel's input at some positions of its output, in the order of its weights: (positions, channels * taps)."""
    maps = x[0] if x.dim() == 4 else x[0].unsqueeze(1)
    (top, left), (down, right), (high, wide) = kernel.padding, kernel.stride, kernel.dilation
    padded = F.pad(maps, (left, left, top, top))
    width = output_size(size_of(x), kernel)[1]
    rows, columns = positions // width * down, positions % width * right
    taps = [
        padded[:, rows + i * high, columns + j * wide]
        for i in range(kernel.weight.shape[2])
        for j in range(kernel.weight.shape[3])
    ]  # one of (channels, positions) a tap
    return torch.stack(taps, dim=1).flatten(0, 1).T
