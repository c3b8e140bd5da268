"""The choice of a network, shared by the pages that show one: in the page's address, and kept from page to page."""

from __future__ import annotations

import streamlit as st

from core.tagging import default_baseline
from dashboard.widgets import own_checkpoint, query_params


def choose_network() -> str:
    """Draw a choice of the models that can be loaded, and beside it the upload of an own one; return the chosen one's name."""
    place, beside = st.container(), st.container()
    with beside.popover("Your own checkpoint", icon=":material/upload:", type="tertiary"):
        own_checkpoint.upload(st.container(), ["network"])
    titles = own_checkpoint.choices()
    names = list(titles)
    first = default_baseline()
    first = first if first in names else names[0]
    query_params.follow("network", query_params.named(titles), first)
    if st.session_state["network"] not in titles:
        st.session_state["network"] = first  # an own one that was removed
    chosen = place.selectbox(
        "Network",
        names,
        format_func=lambda name: titles.get(name, name),
        key="network",
        persist_state="session",
        help="The network whose filters are ranked and removed. Published networks are in this list once they are installed "
        "on the Models page.",
    )
    query_params.keep("network", chosen, first)
    return chosen
