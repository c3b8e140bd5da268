"""The slider of the probability from which on a tag counts."""

from __future__ import annotations

import streamlit as st

from core.units import THRESHOLD
from dashboard.widgets import query_params

_STEPS = {f"{step / 20:g}": step / 20 for step in range(1, 20)}


def choose_threshold(key: str, help_text: str) -> float:
    """Draw the slider, whose ``key`` is its name in the page's address as well, and read it."""
    query_params.follow(key, _STEPS.get, THRESHOLD)
    threshold = st.slider(
        "Threshold",
        min(_STEPS.values()),
        max(_STEPS.values()),
        step=0.05,
        key=key,
        persist_state="session",
        help=help_text,
    )
    query_params.keep(key, f"{threshold:g}", f"{THRESHOLD:g}")
    return threshold
