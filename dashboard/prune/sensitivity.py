"""The Prune page's sensitivity tab: which layers tolerate pruning, measured on request."""

from __future__ import annotations

import json

import streamlit as st

from core.pruning.search.sensitivity import Sensitivity
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.prune import charts
from dashboard.prune.cut import Cut
from dashboard.prune.panels import choose_clips, measurement_panel
from dashboard.widgets.download_buttons import download_button
from dashboard.widgets.theme import palette


def sensitivity(cut: Cut) -> None:
    """The heat map of every layer pruned alone."""
    st.markdown(
        "Each layer is pruned alone at several ratios, and the network's output is compared with the unpruned one's. "
        "Layers that stay pale tolerate pruning; the darker a cell, the more the tags change."
    )
    request = choose_clips(cut, "sensitivity_clips")
    clips = formats.plural(len(request.sources), "clip")

    def draw() -> None:
        result = request.result()
        if result is not None:
            _map(result, clips)

    measurement_panel(
        request,
        "measure_sensitivity",
        "Measure every layer",
        start=request.start,
        result=draw,
        about=f"On {clips}, ranked by {request.criterion}.",
    )


def _map(result: Sensitivity, clips: str) -> None:
    st.plotly_chart(
        charts.sensitivity_map(
            result.layers, result.ratios, result.divergence, result.first_tag, palette=palette()
        ),
        config=CONFIG,
        key="sensitivity_map",
        alt=charts.sensitivity_alt(result.layers, result.ratios, result.divergence),
    )
    st.caption(
        f"Divergence from the unpruned network in nats, mean over {clips}, by {result.criterion}; only the layer of the row is "
        "pruned."
    )
    download_button(
        "JSON",
        lambda: json.dumps(result.document(), indent=2),
        "pannscope-sensitivity.json",
        key="sensitivity_json",
        mime="application/json",
    )
