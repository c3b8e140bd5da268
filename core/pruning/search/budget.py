"""What a plan is searched for: a budget, or a tolerated loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.errors import PruningError

KINDS = ("params", "macs", "time")


@dataclass(frozen=True)
class Budget:
    """What may remain of a network.

    Attributes
    ----------
    kind : str
        "params" (learned parameters), "macs" (in the paper's convention) or "time" (measured).
    share : float
        Share of the unpruned network's that may remain, above 0 and below 1.
    """

    kind: str
    share: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PruningError(f"A budget is one of {', '.join(KINDS)}; got {self.kind!r}.")
        if not 0 < self.share < 1:
            raise PruningError(
                f"A budget is the share of the unpruned network's {self.kind} that may remain, above 0 and below 1; "
                f"got {self.share:g}."
            )


def check_tolerance(tolerance: float) -> float:
    """Raise ``PruningError`` unless ``tolerance`` is a loss, finite and at least 0."""
    if not 0 <= tolerance < math.inf:
        raise PruningError(f"A tolerated loss is a number, at least 0; got {tolerance:g}.")
    return tolerance
