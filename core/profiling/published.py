"""What the E-PANNs paper states, beside what is counted here, and where the two do not agree.

The count is never bent to the paper: both stand side by side, and a sentence says so where they differ by more than rounding.
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
"""What the E-PANNs paper (Singh et al., Inter-Noise 2023) states for CNN14 with this share of C7..C12 removed."""

_STATED_MACS = 50e9
"""The paper's introduction: "more than 50G MACs" for the network that its results put at 21G."""

_RELEASED = 0.5
"""The ratio of the released E-PANNs, whose demonstration code ends in a softmax."""

_ROUNDING = 0.5
"""Percentage points within which a figure printed without decimals agrees with a count."""

_SECONDS = 10.0  # the paper's clips


@dataclass(frozen=True)
class Reductions:
    """What a network has lost against the published CNN14, in per cent, counted as the paper counts (thop, 10 s)."""

    params_pct: float
    macs_pct: float


@dataclass(frozen=True)
class Disagreement:
    """One thing that the paper or its code says otherwise than counting or the training does.

    Attributes
    ----------
    quantity : ``params_reduction_pct``, ``macs_reduction_pct``, ``macs`` or ``output``.
    ratio : share of C7..C12 removed in the network that it is about.
    paper_pct, counted_pct : both figures, where they are percentages.
    says : the whole of it as a sentence.
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
    """How much smaller than the published CNN14 a configuration is."""
    whole, part = count(_paper_network(0.0), _SECONDS), count(config, _SECONDS)
    return Reductions(
        params_pct=100 * (1 - part.params_paper / whole.params_paper),
        macs_pct=100 * (1 - part.macs / whole.macs),
    )


def disagreements(ratio: float | None = None) -> tuple[Disagreement, ...]:
    """Where the paper and the count disagree, for one of the paper's ratios or (None) for all of them."""
    found = [each for point in PAPER for each in _at(point)]
    return tuple(each for each in found if ratio is None or each.ratio == ratio)


def _at(ratio: float) -> list[Disagreement]:
    found = []
    counted = counted_reductions(_paper_network(ratio))
    for quantity, what, figure in (
        ("params_reduction_pct", "parameters", counted.params_pct),
        ("macs_reduction_pct", "MACs", counted.macs_pct),
    ):
        stated = PAPER[ratio][quantity]
        if abs(stated - figure) > _ROUNDING:
            says = (
                f"With {100 * ratio:g}% of C7 to C12 removed the paper states {stated:g}% fewer {what}; "
                f"counting gives {figure:.1f}%."
            )
            found.append(Disagreement(quantity, ratio, stated, figure, says))
    macs = count(_paper_network(ratio), _SECONDS).macs
    if ratio == 0 and macs < _STATED_MACS:
        says = (
            f'The paper\'s introduction says "more than {_STATED_MACS / 1e9:g}G MACs" for the CNN14 that its results put at 21G; '
            f"counting gives {macs / 1e9:.2f}G."
        )
        found.append(Disagreement("macs", ratio, None, None, says))
    if ratio == _RELEASED:
        says = (
            "The demonstration code of the released E-PANNs ends in a softmax; the network was trained with a sigmoid and binary "
            "cross-entropy, and Pannscope uses the sigmoid."
        )
        found.append(Disagreement("output", ratio, None, None, says))
    return found


def _paper_network(ratio: float) -> Cnn14Config:
    return Cnn14Config(pruned_widths(ratio))
