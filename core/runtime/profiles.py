"""Profiles: a network on a CPU runs for speed, or for little memory.

Winograd convolution saves multiplications and needs transformed weights, which are larger (see ``winograd.algorithms``). That pays
where feature maps are large; C11 and C12 hold two thirds of all weights and receive maps of 31 x 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from core import settings
from core.errors import ModelError
from core.models.cnn import LAYERS, Cnn14Config
from core.runtime.machine import usable_memory
from core.runtime.winograd.algorithms import DIRECT, F23, F43, PAIR, Algorithm

FULL, SMALL_ONLY, NONE = "full", "small only", "none"
"""Winograd algorithms that ncnn may use: tiles of any size, of 2 x 2 alone, or none."""

_ROOM = 3.0
"""``fast`` is chosen where this many times its weights fit: two networks, and the feature maps of one of them."""

AlgorithmsOfLayers = tuple[tuple[str, tuple[Algorithm, Algorithm]], ...]


@dataclass(frozen=True)
class Profile:
    """How a network is run.

    Attributes
    ----------
    winograd : (last layer, algorithms along time and bands for it and those before it) from C2 on, for Pannscope's own kernels.
    ncnn : (last layer of a part, Winograd algorithms it may use), for ncnn.
    kept_frames : buffers are kept for the next clip after clips of up to this many frames, and freed after longer ones.
    """

    name: str
    winograd: AlgorithmsOfLayers
    ncnn: tuple[tuple[str, str], ...]
    kept_frames: int

    def algorithms(self, layer: str) -> tuple[Algorithm, Algorithm]:
        """The algorithms of a layer from C2 on in Pannscope's own kernels: along time, along bands."""
        position = LAYERS.index(layer)
        return next(pair for last, pair in self.winograd if position <= LAYERS.index(last))

    def weight_bytes(self, config: Cnn14Config) -> int:
        """Bytes of the weights of C1 to C12 in Pannscope's own kernels, where widths are multiples of a panel."""
        inputs, total = 1, 0
        for layer, width in zip(LAYERS, config.widths, strict=True):
            growth = 1.0
            if layer != LAYERS[0]:
                time, bands = self.algorithms(layer)
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


def choose_profile(config: Cnn14Config, name: str | None = None) -> tuple[Profile, str]:
    """The profile of that name (by default PANNSCOPE_PROFILE's); ``auto`` is ``fast`` where memory allows. And the reason, in words."""
    name = name or settings.profile()
    if name in PROFILES:
        return PROFILES[name], f"profile {name}, as requested"
    if name != "auto":
        raise ModelError(
            f"Unknown profile {name!r}; there are 'fast', 'small' and 'auto', which chooses by the free memory."
        )
    free = usable_memory()
    needed = _ROOM * PROFILES["fast"].weight_bytes(config)
    if free is None or free >= needed:
        return PROFILES["fast"], "profile fast"
    return (
        PROFILES["small"],
        f"profile small, as {free / 2**20:.0f} MB of memory are free and fast needs {needed / 2**20:.0f}",
    )
