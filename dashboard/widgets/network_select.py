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
    query_params.follow("network", {name: entry.title for name, entry in models.items()})
    first = default_baseline()
    return st.selectbox(
        "Network",
        names,
        index=names.index(first) if first in names else 0,
        format_func=lambda name: models[name].title if name in models else name,
        key="network",
        bind="query-params",
        persist_state="session",
        help="The network whose filters are ranked and removed. Published networks are in this list once they are fetched "
        "on the Compare page.",
    )
