"""Energy on the Corpus page: what tagging as much sound as the data set has takes with each of its networks that is installed here."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from core.energy import CLIP_S
from dashboard import formats
from dashboard.server.corpora import DataSet
from dashboard.server.models import usable_models
from dashboard.server.server import get_server
from dashboard.server.timing import Timed
from dashboard.widgets import energy

_MAX_HOURS = 1e9


def section(data_set: DataSet) -> None:
    """The networks are timed once the section is opened, since that takes some seconds of the machine."""
    place = st.expander(energy.TITLE, icon=energy.ICON, key="corpus_energy", on_change="rerun")
    if not place.open:
        return
    with place:
        usable = usable_models()
        missing = [name for name in data_set.models if name not in usable]
        if missing:
            st.caption(f"Not installed here, and left out: {formats.escaped(', '.join(missing))}.")
        names = [name for name in data_set.models if name in usable]
        if names:
            with st.spinner(f"Timing {', '.join(map(formats.escaped, names))}"):
                measured = _times(names)
                sound_s = max(data_set.sound_s().values())
            estimates(measured, sound_s)


def _times(names: list[str]) -> dict[str, Timed]:
    """Two at a time, as the Compare page times them: then no more than two have to be in memory."""
    pairs = [tuple(names[start : start + 2]) for start in range(0, len(names), 2)]
    return {
        name: timed for pair in pairs for name, timed in zip(pair, get_server().latencies(pair), strict=True)
    }


def estimates(measured: Mapping[str, Timed], sound_s: float) -> None:
    """Fields for the factors and the hours of sound, and a row for each network."""
    timings, decimals = list(measured.values()), 2 if sound_s > 3600 else 4
    energy.about()
    with st.grid(4, min_column_width=energy.MIN_FIELD_PX, gap="small"):
        factors = energy.choose_factors(timings)
        hours = st.number_input(
            "Hours of sound",
            0.0,
            _MAX_HOURS,
            min(round(sound_s / 3600, decimals), _MAX_HOURS),
            format=f"%.{decimals}f",
            key="corpus_hours",
            help="Opens with the data set's: the seconds that its rows are of, windows that overlap counted each.",
        )
    asked_s = 3600 * hours
    results = [factors.of(timed, asked_s) for timed in timings]
    st.table(
        pd.DataFrame(
            {
                "Network": [formats.escaped(name) for name in measured],
                f"Time, {CLIP_S:.0f} s": [formats.milliseconds(timed.latency.median_ms) for timed in timings],
                "Time, all": [formats.duration(energy.busy_s(timed, asked_s)) for timed in timings],
                "Energy": [formats.energy(result.kwh) for result in results],
                "CO₂": [formats.mass(result.kg_co2) for result in results],
            }
        ),
        hide_index=True,
        border="horizontal",
    )
    energy.sources(timings)
    st.caption(
        f"Time: median of {timings[0].latency.repeats} runs on {CLIP_S:.0f} s of sound, with the networks of these names that are installed here, on "
        "this server's engine and threads. What made the data set may have been another machine."
    )
