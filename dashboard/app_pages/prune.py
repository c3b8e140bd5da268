"""Prune: move a slider and see and hear a network shrink."""

from __future__ import annotations

import streamlit as st

from dashboard import inputs, networks


def page() -> None:
    """Read the widgets, ask ``core``, draw."""
    st.title("Prune a network, and hear what it costs", anchor=False)
    networks.choose_network()
    with st.container():
        inputs.choose_one(st.container())


page()
