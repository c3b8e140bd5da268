"""What is the same in every estimate of energy: the factors as fields, what they count, and where they are from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.energy import CLIP_S, GRAMS_A_KWH, PUE, WATTS_A_THREAD, Estimate, estimate
from core.runtime.machine import threads
from dashboard import formats
from dashboard.server.timing import Timed

TITLE = "Energy, an estimate"
ICON = ":material/bolt:"
MIN_FIELD_PX = 140
"""Two fields or cards stand beside each other on a phone of 390 px."""


@dataclass(frozen=True)
class Factors:
    """What a time is multiplied by."""

    watts: float
    pue: float
    grams_a_kwh: float

    def of(self, timed: Timed, sound_s: float) -> Estimate:
        """What so many seconds of sound take with a network, by its measured time."""
        return estimate(busy_s(timed, sound_s), self.watts, self.pue, self.grams_a_kwh)


def busy_s(timed: Timed, sound_s: float) -> float:
    """Seconds that a network computes for so many seconds of sound."""
    return sound_s / CLIP_S * timed.latency.median_ms / 1e3


def about() -> None:
    """The line above the fields."""
    st.caption(
        "An estimate, not a measurement: time here × power × PUE × the grid's intensity. It counts the networks alone: no decoding, no transfer, "
        "no storage, no sensors, and nothing of making the machines."
    )


def choose_factors(measured: Sequence[Timed]) -> Factors:
    """Three fields, each for one factor."""
    watts = st.number_input(
        "Power (W)",
        0.0,
        1e5,
        round(measured[0].package_watts or WATTS_A_THREAD.value * threads(), 1),
        step=0.1,
        format="%.1f",
        key="energy_watts",
        help=_power_from(measured),
    )
    pue = st.number_input(
        "PUE",
        1.0,
        5.0,
        PUE.value,
        step=0.01,
        key="energy_pue",
        persist_state="session",
        help=_sentence(PUE.source),
    )
    grid = st.number_input(
        "Grid (g CO₂/kWh)",
        0.0,
        1e4,
        GRAMS_A_KWH.value,
        step=5.0,
        format="%.0f",
        key="energy_grid",
        persist_state="session",
        help=_sentence(GRAMS_A_KWH.source),
    )
    return Factors(watts, pue, grid)


def sources(measured: Sequence[Timed]) -> None:
    """Where each factor is from, one a line."""
    lines = (
        f"Power: {_power_from(measured)}",
        f"PUE: {_sentence(PUE.source)}",
        f"Grid: {_sentence(GRAMS_A_KWH.source)}",
    )
    st.caption("  \n".join(lines))


def _power_from(measured: Sequence[Timed]) -> str:
    if measured[0].package_watts is not None:
        return "Counted by this machine's processor (RAPL) while the networks were timed, whatever else ran included."
    return (
        f"{formats.plural(threads(), 'thread')} × {WATTS_A_THREAD.value:g} W: {WATTS_A_THREAD.source}. This machine shows no "
        "energy counter (RAPL)."
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
