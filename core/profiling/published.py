"""The E-PANNs paper's figures beside the counts made here, and where the two disagree.

The count is never adjusted to the paper: both are shown, and a sentence names every difference beyond rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.models.cnn import Cnn14Config
from core.models.widths import pruned_widths
from core.profiling.counts import count

PAPER: dict[float, dict[str, float]] = {
    0.0: {"params_reduction_pct": 0, "macs_reduction_pct": 0, "mAP": 0.431},
    0.25: {"params_reduction_pct": 41, "macs_reduction_pct": 24, "mAP": 0.442},
    0.5: {"params_reduction_pct": 70, "macs_reduction_pct": 36, "mAP": 0.440},
    0.75: {"params_reduction_pct": 78, "macs_reduction_pct": 46, "mAP": 0.420},
}
"""The E-PANNs paper's figures (Singh et al., Inter-Noise 2023) for CNN14 with C7..C12 pruned by this ratio."""

_STATED_MACS = 50e9
"""The paper's introduction: "more than 50G MACs" for the network that its results put at 21G."""

_RELEASED = 0.5
"""Ratio of the released E-PANNs, whose demonstration code ends in a softmax."""

_ROUNDING = 0.5
"""Percentage points within which a figure printed without decimals agrees with a count."""

_SECONDS = 10.0  # the paper's clips


@dataclass(frozen=True)
class Reductions:
    """Reduction against the published CNN14 in per cent, in the paper's convention (thop, 10 s)."""

    params_pct: float
    macs_pct: float


@dataclass(frozen=True)
class Disagreement:
    """One difference between the paper or its code and the count or the training.

    Attributes
    ----------
    quantity : str
        ``params_reduction_pct``, ``macs_reduction_pct``, ``macs`` or ``output``.
    ratio : float
        Pruning ratio of C7..C12 in the network that it is about.
    paper_pct, counted_pct : float or None
        Both figures, where they are percentages.
    says : str
        The difference in a sentence.
    """

    quantity: str
    ratio: float
    paper_pct: float | None
    counted_pct: float | None
    says: str


def paper_ratio(config: Cnn14Config) -> float | None:
    """Which of the paper's networks has exactly this configuration."""
    return next((ratio for ratio in PAPER if config == _paper_network(ratio)), None)


def paper_figures(config: Cnn14Config) -> dict[str, float] | None:
    """The paper's figures for a network of exactly this configuration; None where it has none."""
    ratio = paper_ratio(config)
    return None if ratio is None else dict(PAPER[ratio])


def counted_reductions(config: Cnn14Config) -> Reductions:
    """How much smaller than the published CNN14 a configuration is.

    Examples
    --------
    >>> round(counted_reductions(Cnn14Config(pruned_widths(0.5))).params_pct, 1)
    70.3
    """
    unpruned, pruned = count(_paper_network(0.0), _SECONDS), count(config, _SECONDS)
    return Reductions(
        params_pct=100 * (1 - pruned.params_paper / unpruned.params_paper),
        macs_pct=100 * (1 - pruned.macs / unpruned.macs),
    )


def disagreements(ratio: float | None = None) -> tuple[Disagreement, ...]:
    """Where the paper and the count disagree, for one of the paper's ratios or (None) for all of them."""
    return tuple(item for point in PAPER for item in _at(point) if ratio in (None, item.ratio))


def _at(ratio: float) -> list[Disagreement]:
    differences = []
    counted = counted_reductions(_paper_network(ratio))
    for quantity, what, figure in (
        ("params_reduction_pct", "parameters", counted.params_pct),
        ("macs_reduction_pct", "MACs", counted.macs_pct),
    ):
        stated = PAPER[ratio][quantity]
        if abs(stated - figure) > _ROUNDING:
            sentence = (
                f"With {100 * ratio:g}% of C7 to C12 removed the paper states {stated:g}% fewer {what}; "
                f"counting gives {figure:.1f}%."
            )
            differences.append(Disagreement(quantity, ratio, stated, figure, sentence))
    macs = count(_paper_network(ratio), _SECONDS).macs
    if ratio == 0 and macs < _STATED_MACS:
        sentence = (
            f'The paper\'s introduction says "more than {_STATED_MACS / 1e9:g}G MACs" for the CNN14 that its results put at 21G; '
            f"counting gives {macs / 1e9:.2f}G."
        )
        differences.append(Disagreement("macs", ratio, None, None, sentence))
    if ratio == _RELEASED:
        sentence = (
            "The demonstration code of the released E-PANNs ends in a softmax; the network was trained with a sigmoid and binary "
            "cross-entropy, and Pannscope uses the sigmoid."
        )
        differences.append(Disagreement("output", ratio, None, None, sentence))
    return differences


def _paper_network(ratio: float) -> Cnn14Config:
    return Cnn14Config(pruned_widths(ratio))
