"""The Prune page's card with the measured time: on request, or at once where it is known."""

from __future__ import annotations

import streamlit as st

from core.errors import PannscopeError
from core.profiling import Latency
from dashboard import formats
from dashboard.prune.cut import Cut
from dashboard.server.server import get_server
from dashboard.widgets import engine_text
from dashboard.widgets.metric_card import card, metric_card
from dashboard.widgets.slots import Slot

_FIGURES_PX = 51  # height of the figures of the other cards


def time_card(cut: Cut, slot: Slot) -> None:
    """Draw the card in its place, measuring first where that was requested."""
    measured = get_server().known_pruned_latencies(cut)
    placeholder = slot.fill().empty()
    if measured is None and st.session_state.pop("measure_time", False):
        with placeholder.container():
            card("Time here", "measuring …", None, "Both networks are being timed, alternating.")
        try:
            measured = get_server().pruned_latencies(cut)
        except PannscopeError as error:
            placeholder.error(formats.escaped(str(error)))
            return
    with placeholder.container():
        if measured is None:
            _offer()
            return
        before, after = (timed.latency for timed in measured)
        metric_card(
            "Time here",
            (before.median_ms, after.median_ms),
            formats.milliseconds,
            f"{engine_text.conditions(measured)} Half of the runs took {_quartiles(before)} unpruned and "
            f"{_quartiles(after)} pruned.",
        )


def _offer() -> None:
    with st.container(border=True, gap="xsmall", height="stretch"):
        st.markdown(
            ":small[Time here]",
            help="Both networks are timed on 10 s of audio on this machine, alternating.",
        )
        with st.container(height=_FIGURES_PX, border=False):
            st.button("Measure", key="ask_time", type="tertiary", icon=":material/timer:", on_click=_request)


def _quartiles(latency: Latency) -> str:
    return f"{formats.milliseconds(latency.lower_quartile_ms)} to {formats.milliseconds(latency.upper_quartile_ms)}"


def _request() -> None:
    st.session_state["measure_time"] = True
