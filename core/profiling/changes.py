"""Two profiles side by side: what pruning changed, per layer and in total."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import ModelError
from core.profiling.profile import Profile

TOTALS = (
    "params_trainable",
    "params_total",
    "macs",
    "macs_network",
    "size_bytes",
    "size_bytes_float16",
    "file_bytes",
    "file_bytes_float16",
    "peak_activation_bytes",
)
"""The figures of a ``Profile`` that are compared."""


@dataclass(frozen=True)
class Change:
    """One figure before and after."""

    before: int
    after: int

    @property
    def change_pct(self) -> float:
        """In per cent of what it was; negative where it became smaller."""
        return 100 * (self.after / self.before - 1)


@dataclass(frozen=True)
class LayerChange:
    """One layer before and after."""

    name: str
    in_channels: Change
    out_channels: Change
    params: Change
    macs: Change
    activation_bytes: Change


@dataclass(frozen=True)
class ProfileChange:
    """Every layer, and the totals by their names in ``Profile``."""

    layers: tuple[LayerChange, ...]
    totals: dict[str, Change]


def compare_profiles(before: Profile, after: Profile) -> ProfileChange:
    """Put two profiles beside each other. Raises ``ModelError`` unless both count the same architecture and length of clip."""
    if (before.architecture, before.seconds) != (after.architecture, after.seconds):
        raise ModelError(
            f"Counts of {before.architecture} for {before.seconds:g} s and of {after.architecture} for {after.seconds:g} s "
            "cannot be compared; count both for the same clip."
        )
    layers = tuple(
        LayerChange(
            old.name,
            Change(old.in_channels, new.in_channels),
            Change(old.out_channels, new.out_channels),
            Change(old.params, new.params),
            Change(old.macs, new.macs),
            Change(old.activation_bytes, new.activation_bytes),
        )
        for old, new in zip(before.layers, after.layers, strict=True)
    )
    return ProfileChange(
        layers, {name: Change(getattr(before, name), getattr(after, name)) for name in TOTALS}
    )
