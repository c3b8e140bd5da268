"""Energy on the Compare page: what a million clips and a year of a city's sensors take with each network."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.energy import CLIP_S, sensor_clips
from dashboard import formats
from dashboard.server.timing import Timed
from dashboard.widgets import energy
from dashboard.widgets.metric_card import metric_cards

_MILLION = 1e6


def section(measured: Sequence[Timed], titles: Sequence[str]) -> None:
    """Fields for the factors and the sensors, and cards of energy and CO2."""
    energy.about()
    with st.grid(5, min_column_width=energy.MIN_FIELD_PX, gap="small"):
        factors = energy.choose_factors(measured)
        sensors = st.number_input(
            "Sensors", 1, 10_000_000, 1000, key="energy_sensors", help="A city's, or a country's."
        )
        hours = st.number_input(
            "Hours of sound a day",
            0.1,
            24.0,
            24.0,
            format="%.1f",
            key="energy_hours",
            help="Of each sensor, 365 days a year.",
        )
    recorded = sensor_clips(sensors, hours)
    city = formats.plural(sensors, "sensor") if sensors == 1 else f"{formats.whole(sensors)} sensors"
    with st.grid(4, min_column_width=energy.MIN_FIELD_PX, gap="small"):
        for what, clips in (
            (f"a million clips of {CLIP_S:.0f}{formats.NBSP}s", _MILLION),
            (f"{city} for a year", recorded),
        ):
            estimates = [factors.of(timed, clips * CLIP_S) for timed in measured]
            about = f"For {what}, where every clip of {CLIP_S:.0f} s is tagged once. Estimated from the factors above."
            metric_cards(f"Energy, {what}", [each.kwh for each in estimates], titles, formats.energy, about)
            metric_cards(f"CO₂, {what}", [each.kg_co2 for each in estimates], titles, formats.mass, about)
    energy.sources(measured)
    st.caption(f"The sensors record {formats.count(recorded)} clips of {CLIP_S:.0f} s.")
