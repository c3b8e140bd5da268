"""The two ways of running a network in ncnn: for time, or for memory.

Winograd's way of convolving spares multiplications and pays with transformed weights: a 3 x 3 kernel becomes 6 x 6 (4 times the
memory; for narrow layers 8 x 8) or, in its small form, 4 x 4 (1.8 times). Where maps are large it is worth it; C11 and C12 hold two
thirds of all weights and hear maps of 62 x 4 and 31 x 2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from core.errors import ModelError
from core.models.cnn import LAYERS, Cnn14Config
from core.runtime.machine import usable_memory

FULL, SMALL_ONLY, NONE = "full", "small only", "none"
_GROWTH = {FULL: 36 / 9, SMALL_ONLY: 16 / 9, NONE: 1.0}
"""Transformed weights to weights: the kernels' sizes."""

_ROOM = 3.0
"""``fast`` is chosen where this many times its weights fit: two networks, and what one of them hears."""


@dataclass(frozen=True)
class Profile:
    """How a network is run.

    Attributes
    ----------
    ways : which Winograd every part of the network uses, (last layer of the part, way).
    kept_frames : ncnn keeps its buffers for the next clip after clips of up to this many frames; those of longer ones are given back.
    """

    name: str
    ways: tuple[tuple[str, str], ...]
    kept_frames: int

    def weight_bytes(self, config: Cnn14Config) -> int:
        """Bytes of the weights once ncnn has transformed them."""
        inputs, total = 1, 4 * (config.widths[-1] + config.classes) * config.embedding
        for layer, width in zip(LAYERS, config.widths, strict=True):
            total += round(4 * 9 * inputs * width * _GROWTH[self.way(layer)])
            inputs = width
        return total

    def way(self, layer: str) -> str:
        """How a layer is convolved."""
        position = LAYERS.index(layer)
        return next(way for last, way in self.ways if position <= LAYERS.index(last))


PROFILES = {
    "fast": Profile("fast", (("C4", FULL), ("C8", FULL), ("C12", SMALL_ONLY)), 1200),
    "small": Profile("small", (("C4", FULL), ("C8", FULL), ("C10", SMALL_ONLY), ("C12", NONE)), 0),
}
"""Every part's convolutions share their way; the first part, whose maps are the largest, is run in pieces of time."""


def choose_profile(config: Cnn14Config, asked: str | None = None) -> tuple[Profile, str]:
    """The profile that was asked for (or that PANNSCOPE_PROFILE names), else ``fast`` where memory allows; and why, in words."""
    wanted = asked or os.environ.get("PANNSCOPE_PROFILE") or "auto"
    if wanted in PROFILES:
        return PROFILES[wanted], f"profile {wanted}, as asked"
    if wanted != "auto":
        raise ModelError(
            f"Unknown profile {wanted!r}; there are 'fast', 'small' and 'auto', which goes by the free memory."
        )
    free = usable_memory()
    needed = _ROOM * PROFILES["fast"].weight_bytes(config)
    if free is None or free >= needed:
        return PROFILES["fast"], "profile fast"
    return PROFILES[
        "small"
    ], f"profile small, as {free / 2**20:.0f} MB of memory are free and fast wants {needed / 2**20:.0f}"
