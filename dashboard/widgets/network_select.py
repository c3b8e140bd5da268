"""The choice of a network, shared by the pages that show one: in the page's address, and kept from page to page."""

from __future__ import annotations

import streamlit as st

from core.tagging import default_baseline
from dashboard.server.models import usable_models
from dashboard.widgets import query_params


def choose_network() -> str:
    """Draw a choice of the models that can be loaded, and return the chosen one's name."""
    models = usable_models()
    names = list(models)
    first = default_baseline()
    first = first if first in names else names[0]
    query_params.follow(
        "network", query_params.named({name: entry.title for name, entry in models.items()}), first
    )
    chosen = st.selectbox(
        "Network",
        names,
        format_func=lambda name: models[name].title if name in models else name,
        key="network",
        persist_state="session",
        help="The network whose filters are ranked and removed. Published networks are in this list once they are fetched "
        "on the Compare page.",
    )
    query_params.keep("network", chosen, first)
    return chosen
