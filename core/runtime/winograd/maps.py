"""Buffers of the kernels: aligned, and reused from layer to layer and from clip to clip."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_ALIGNED = 64
"""Bytes: a vector of AVX-512, and a line of every cache."""


def aligned(*shape: int) -> Array:
    """An uninitialised float32 array. numpy requests large pages for large ones, which halves the time to read weights."""
    size = math.prod(shape)
    raw = np.empty(size + _ALIGNED // 4, np.float32)
    start = -raw.ctypes.data % _ALIGNED // 4
    return raw[start : start + size].reshape(shape)


class Workspace:
    """Arrays by name, grown to the largest size that was requested; for one clip at a time."""

    def __init__(self) -> None:
        self._held: dict[str, Array] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(held.nbytes for held in self._held.values())

    def array(self, name: str, *shape: int) -> Array:
        """An array with the content that was last written under this name."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.size < size:
            self._held.pop(name, None)
            held = self._held[name] = aligned(size)
        return held[:size].reshape(shape)

    def maps(self, name: str, chunks: int, frames: int, bands: int, lanes: int, *, rows: int) -> Array:
        """Feature maps (chunks, rows + 2, bands + 2, lanes) with a border of zeros around the first ``frames`` and all ``bands``.

        Frame 0 is in row 1. Call ``close`` once they are filled: it sets rows after ``frames`` to zero.
        """
        maps = self.array(name, chunks, max(rows, -(-frames // 4) * 4) + 2, bands + 2, lanes)
        maps[:, 0] = 0
        maps[:, :, 0] = 0
        maps[:, :, -1] = 0
        return maps


def close(maps: Array, frames: int) -> None:
    """Clear what tiles wrote after the last frame."""
    maps[:, frames + 1 :] = 0
