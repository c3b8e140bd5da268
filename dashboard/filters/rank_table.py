"""The Filters page's rank table as a file: every filter's score, rank and fate."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.pruning.ranking import RankedLayer
from core.units import guarded
from dashboard.filters.view import LayerView
from dashboard.server.server import get_server
from dashboard.widgets.download_buttons import download_button


def downloads(view: LayerView) -> None:
    """Buttons for the ranks of this layer and of all layers."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        every = get_server().structure(view.network).layers
        for layers, label in (((view.layer,), f"Ranks of {view.layer}"), (every, "Ranks of all layers")):
            name = layers[0] if len(layers) == 1 else "all"
            download_button(
                f"{label}, CSV",
                partial(csv_text, view, layers),
                f"{view.network}-{name}-{view.settings.criterion}.csv",
                key=f"ranks_{len(layers)}",
                mime="text/csv",
                help_text=f"Every filter by {view.settings.criterion}: score, rank, and whether it is kept at {view.settings.cut}. "
                "`pannscope importance --json` prints the same.",
            )


def csv_text(view: LayerView, layers: Sequence[str]) -> str:
    """One line a filter, layer by layer, the most important first."""
    settings, server = view.settings, get_server()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["network", "layer", "filter", "criterion", "score", "rank", f"at {settings.ratio:g}"])
    for layer in layers:
        ranked = RankedLayer(
            layer, server.scores(settings.network, layer, settings.criterion), settings.ratio
        )
        ranks, kept = ranked.ranks, ranked.kept
        for index in ranks.argsort().tolist():
            fate = "kept" if kept[index] else "removed"
            score = repr(float(ranked.scores[index]))
            writer.writerow(
                [guarded(settings.network), layer, index, settings.criterion, score, ranks[index], fate]
            )
    return out.getvalue()
