"""One configuration's counts over a series of pruning ratios, fast enough to be drawn while a slider moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.models.cnn import CNN14_WIDTHS, Cnn14Config
from core.models.widths import PAPER_LAYERS, pruned_widths
from core.profiling.counts import Counts, count
from core.profiling.memory import activation_bytes
from core.profiling.published import paper_figures

SWEEP_RATIOS = tuple(step / 20 for step in range(19))
"""0, 5, 10 … 90%."""


@dataclass(frozen=True)
class SweepPoint:
    """The network at one ratio; ``paper`` is None where the paper has no such network."""

    ratio: float
    widths: tuple[int, ...]
    counts: Counts
    peak_activation_bytes: int
    paper: dict[str, float] | None

    @property
    def params_trainable(self) -> int:
        """Learned parameters."""
        return self.counts.params_trainable

    @property
    def macs(self) -> int:
        """MACs in the paper's convention."""
        return self.counts.macs

    @property
    def size_bytes(self) -> int:
        """The published layout in float32."""
        return self.counts.size_bytes


def sweep(
    widths: Sequence[int] = CNN14_WIDTHS,
    layers: Sequence[str] = PAPER_LAYERS,
    *,
    classes: int = 527,
    embedding: int = 2048,
    seconds: float = 10.0,
    round_to: int = 1,
) -> tuple[SweepPoint, ...]:
    """Counts of a CNN14 of ``widths`` with ``layers`` pruned by each of ``SWEEP_RATIOS``.

    The counts are ``profile``'s, in closed form. Raises ``ModelError`` or ``PruningError`` as ``profile`` does.
    """
    points = []
    for ratio in SWEEP_RATIOS:
        config = Cnn14Config(pruned_widths(ratio, layers, widths, round_to), classes, embedding)
        points.append(
            SweepPoint(
                ratio=ratio,
                widths=config.widths,
                counts=count(config, seconds),
                peak_activation_bytes=activation_bytes(config, seconds),
                paper=paper_figures(config),
            )
        )
    return tuple(points)
