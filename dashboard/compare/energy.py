"""Energy on the Compare page: an estimate from the measured time, with every factor in a field that can be edited."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.energy import CLIP_S, GRAMS_A_KWH, PUE, WATTS_A_THREAD, Estimate, estimate, sensor_clips
from core.runtime.machine import threads
from dashboard import formats
from dashboard.server.timing import Timed
from dashboard.widgets.metric_card import metric_card

_MILLION = 1e6


def section(measured: Sequence[Timed]) -> None:
    """Fields for the factors, and what a million clips and a year of a city's sensors take with each network."""
    st.caption(
        "An estimate, not a measurement: time here × power × PUE × the grid's intensity. It counts the networks alone: no decoding, no transfer, "
        "no storage, no sensors, and nothing of making the machines."
    )
    counted = measured[0].package_watts
    stated = WATTS_A_THREAD.value * threads()
    power_from = (
        "Counted by this machine's processor (RAPL) while both networks were timed, whatever else ran included."
        if counted is not None
        else f"{formats.plural(threads(), 'thread')} × {WATTS_A_THREAD.value:g} W: {WATTS_A_THREAD.source}. This machine shows no "
        "energy counter (RAPL)."
    )
    with st.grid(5, min_column_width=150, gap="small"):
        watts = _number("Power (W)", "energy_watts", round(counted or stated, 1), 0.1, power_from)
        pue = st.number_input(
            "PUE", 1.0, 5.0, PUE.value, step=0.01, key="energy_pue", help=_sentence(PUE.source)
        )
        grid = _number(
            "Grid (g CO₂/kWh)", "energy_grid", GRAMS_A_KWH.value, 5.0, _sentence(GRAMS_A_KWH.source)
        )
        sensors = st.number_input(
            "Sensors", 1, 10_000_000, 1000, key="energy_sensors", help="A city's, or a country's."
        )
        hours = st.number_input(
            "Hours of sound a day",
            0.1,
            24.0,
            24.0,
            key="energy_hours",
            help="Of each sensor, 365 days a year.",
        )

    def of(clips: float) -> tuple[Estimate, Estimate]:
        first, second = (
            estimate(clips * timed.latency.median_ms / 1e3, watts, pue, grid) for timed in measured
        )
        return first, second

    recorded = sensor_clips(sensors, hours)
    rows = (
        (f"a million clips of {CLIP_S:.0f} s", of(_MILLION)),
        (
            f"{formats.plural(sensors, 'sensor')} for a year"
            if sensors == 1
            else f"{sensors:,} sensors for a year",
            of(recorded),
        ),
    )
    with st.grid(4, min_column_width=160, gap="small"):
        for title, (first, second) in rows:
            about = f"For {title}, where every clip of {CLIP_S:.0f} s is tagged once. Estimated from the factors above."
            metric_card(f"Energy, {title}", (first.kwh, second.kwh), formats.energy, about)
            metric_card(f"CO₂, {title}", (first.kg_co2, second.kg_co2), formats.mass, about)
    st.caption(
        f"Power: {power_from} PUE: {PUE.source}. Grid: {GRAMS_A_KWH.source}. "
        f"The sensors record {formats.count(recorded)} clips."
    )


def _number(label: str, key: str, value: float, step: float, about: str) -> float:
    return float(st.number_input(label, 0.0, 1e5, value, step=step, key=key, help=about))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
