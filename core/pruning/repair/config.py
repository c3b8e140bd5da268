"""The settings of a repair."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import PruningError


@dataclass(frozen=True)
class RepairConfig:
    """How to repair; the defaults are those that ``docs/repair.md`` found best.

    All ridges are relative to the inputs' mean variance over the clips.

    Attributes
    ----------
    batch_norm : bool
        Match every batch norm's mean and variance over the clips to those in the unpruned network.
    reconstruct : bool
        Correct the layers by least squares.
    map_ridge : float
        Ridge of the first correction, which replaces each lost feature map by a mixture of the others (a 1x1 correction).
    tap_ridge : float
        Ridge of the second, which starts from the first and may change every weight of the kernels.
    summary_ridge : float
        Ridge of fc1's correction.
    windows : int
        Fewer calibration windows than this are supplemented with variants of them (``calibration.add_variants``).
    """

    batch_norm: bool = True
    reconstruct: bool = True
    map_ridge: float = 1e-3
    tap_ridge: float = 1e-2
    summary_ridge: float = 1e-3
    windows: int = 32

    def __post_init__(self) -> None:
        for name in ("map_ridge", "tap_ridge", "summary_ridge"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise PruningError(f"The ridge {name} must be a number above 0; got {value!r}.")
