"""The two ways of running a network on a CPU: for time, or for memory.

Winograd's way of convolving spares multiplications and pays with transformed weights, which grow (see ``winograd.algorithms``). Where maps
are large that is worth it; C11 and C12 hold two thirds of all weights and hear maps of 31 x 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from core import settings
from core.errors import ModelError
from core.models.cnn import LAYERS, Cnn14Config
from core.runtime.machine import usable_memory
from core.runtime.winograd.algorithms import DIRECT, F23, F43, PAIR, Algorithm

FULL, SMALL_ONLY, NONE = "full", "small only", "none"
"""Which Winograd ncnn may use: tiles of any size, of 2 x 2 alone, or none."""

_ROOM = 3.0
"""``fast`` is chosen where this many times its weights fit: two networks, and what one of them hears."""

Ways = tuple[tuple[str, tuple[Algorithm, Algorithm]], ...]


@dataclass(frozen=True)
class Profile:
    """How a network is run.

    Attributes
    ----------
    winograd : (last layer, how it and those before it are convolved along time and bands) from C2 on, for our own kernels.
    ncnn : (last layer of a part, which Winograd it may use), for ncnn.
    kept_frames : buffers are kept for the next clip after clips of up to this many frames; those of longer ones are given back.
    """

    name: str
    winograd: Ways
    ncnn: tuple[tuple[str, str], ...]
    kept_frames: int

    def ways(self, layer: str) -> tuple[Algorithm, Algorithm]:
        """How our own kernels convolve a layer from C2 on: along time, along bands."""
        position = LAYERS.index(layer)
        return next(ways for last, ways in self.winograd if position <= LAYERS.index(last))

    def weight_bytes(self, config: Cnn14Config) -> int:
        """Bytes of the weights of C1 to C12 as our own kernels keep them, where widths are whole panels."""
        inputs, total = 1, 0
        for layer, width in zip(LAYERS, config.widths, strict=True):
            growth = 1.0
            if layer != LAYERS[0]:
                time, bands = self.ways(layer)
                growth = time.growth * bands.growth
            total += round(4 * 9 * inputs * width * growth)
            inputs = width
        return total


PROFILES = {
    "fast": Profile(
        "fast",
        (("C10", (F43, F43)), ("C12", (DIRECT, PAIR))),
        (("C4", FULL), ("C8", FULL), ("C12", SMALL_ONLY)),
        1200,
    ),
    "small": Profile(
        "small",
        (("C6", (F43, F43)), ("C10", (DIRECT, F23)), ("C12", (DIRECT, PAIR))),
        (("C4", FULL), ("C8", FULL), ("C10", SMALL_ONLY), ("C12", NONE)),
        0,
    ),
}


def choose_profile(config: Cnn14Config, asked: str | None = None) -> tuple[Profile, str]:
    """The profile that was asked for (or that PANNSCOPE_PROFILE names), else ``fast`` where memory allows; and why, in words."""
    wanted = asked or settings.profile()
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
    return (
        PROFILES["small"],
        f"profile small, as {free / 2**20:.0f} MB of memory are free and fast wants {needed / 2**20:.0f}",
    )
