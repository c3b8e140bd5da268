"""The settings of the Trade-off page; both are part of its address."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dashboard.widgets import query_params
from dashboard.widgets.choice import choose_one

COST_TITLES = {"time": "Time here", "macs": "MACs", "params": "Parameters"}


@dataclass(frozen=True)
class Settings:
    """What the horizontal axis shows (one of ``core.tradeoff.COSTS``), and whether MACs include the STFT."""

    cost: str
    count_stft: bool


def choose() -> Settings:
    """Draw the widgets and read them."""
    query_params.follow("stft", {"1": True}.get, False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        cost = choose_one(
            "Cost",
            "cost",
            COST_TITLES,
            "time",
            help_text="Time: measured on this machine for 10 s of audio. MACs: multiply-accumulate operations for 10 s, counted. "
            "Parameters: what training learns, counted.",
        )
        counted = st.toggle(
            "Count the STFT",
            key="stft",
            persist_state="session",
            disabled=cost != "macs",
            help="Adds the short-time Fourier transform of every network that has one to its MACs, as the two convolutions by which "
            "PANNs computes it, also where an FFT does the same for far less. Without it no network's is counted.",
        )
    query_params.keep("stft", "1" if counted else "", "")
    return Settings(cost, counted)
