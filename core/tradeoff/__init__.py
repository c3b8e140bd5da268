"""Quality against cost: the published systems, and own networks that were evaluated, each figure with its source.

``systems`` joins the manifest's figures with times measured here; ``times`` measures them and keeps them; ``kept`` keeps the
results of ``pannscope evaluate --keep``; ``front`` finds what nothing beats.
"""

from core.tradeoff.kept import Kept, keep, kept_results
from core.tradeoff.systems import COSTS, System, front_of, own_systems, rows, systems
from core.tradeoff.times import NotEnoughMemoryError, machine, measurable, measure, measured

__all__ = [
    "COSTS",
    "Kept",
    "NotEnoughMemoryError",
    "System",
    "front_of",
    "keep",
    "kept_results",
    "machine",
    "measurable",
    "measure",
    "measured",
    "own_systems",
    "rows",
    "systems",
]
