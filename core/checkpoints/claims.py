"""What a file says about its tensors, before one of them is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

MAX_AXES = 8
"""Of a tensor; a convolution's weight has four."""


@dataclass(frozen=True)
class StorageClaim:
    """A storage that the pickle refers to: its key in the file, its dtype and its claimed number of elements."""

    key: str
    dtype: torch.dtype
    elements: int

    @property
    def nbytes(self) -> int:
        return self.elements * self.dtype.itemsize


@dataclass(frozen=True)
class TensorClaim:
    """A tensor as the file describes it: a window into a storage."""

    storage: StorageClaim
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    @property
    def dense(self) -> bool:
        """Whether its elements lie side by side, its axes in any order: strides then are products of its sizes."""
        elements = 1
        for step, size in sorted(
            (step, size) for size, step in zip(self.shape, self.stride, strict=True) if size != 1
        ):
            if step != elements:
                return False
            elements *= size
        return True

    def part(self, number: int, parts: int) -> TensorClaim:
        """One of ``parts`` tensors of one shape that lie one below the other in this one, which has to be divisible."""
        rows = self.shape[0] // parts
        return TensorClaim(
            self.storage, self.offset + number * rows * self.stride[0], (rows, *self.shape[1:]), self.stride
        )


@dataclass(frozen=True)
class Skipped:
    """Stands for an object that is neither made nor needed; ``kind`` is what the pickle calls it."""

    kind: str


def is_count(value: Any) -> bool:
    """Whether a number from a file can be a size or a position: whole, not negative, and no huge integer."""
    return type(value) is int and 0 <= value < 1 << 48
