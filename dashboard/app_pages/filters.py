"""Filters: which of a layer's filters matter, and what they look like."""

from __future__ import annotations

import streamlit as st

from dashboard import inputs, networks


def page() -> None:
    """Read the widgets, ask ``core``, draw."""
    st.title("Look at the filters", anchor=False)
    networks.choose_network()
    with st.container():
        inputs.choose_one(st.container())


page()
