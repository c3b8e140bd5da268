"""The Filters page's sections on all criteria: how far they agree on a layer, and the selected filter's score by each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.pruning.criteria import CRITERIA
from core.pruning.ranking import kept_in_common, rank_correlations, ranks
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.filters import agreement_charts
from dashboard.filters.view import LayerView
from dashboard.server.server import get_server
from dashboard.server.time_left import TimeLeft
from dashboard.widgets.theme import palette

_TABLE_PX = 38 + 35 * len(CRITERIA)  # the header, and a row a criterion


def agreement(view: LayerView) -> None:
    """How far the criteria agree on this layer: on the order, and on which filters they keep."""
    placeholder = st.empty()
    scores = _all_scores(view, placeholder)
    placeholder.empty()
    names, chosen = list(scores), view.settings.criterion
    correlations, common = rank_correlations(scores), kept_in_common(scores, view.settings.ratio)
    st.markdown(_most_and_least_alike(chosen, names, correlations))
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(
            "**Rank correlation**",
            help="Spearman's: 1 where two criteria rank all filters in the same order, 0 where their orders are unrelated, "
            "−1 where one is the reverse of the other.",
        )
        _matrix("correlations", correlations, names, formats.correlation, chosen)
    with right:
        st.markdown(
            f"**Kept by both at {view.settings.cut}**",
            help="Of the filters that one criterion keeps, the per cent that the other keeps too.",
        )
        _matrix("common", common, names, lambda value: f"{100 * value:.0f}", chosen)
    st.caption(
        f"Columns are numbered like the rows. Left: rank correlation over the {len(view.order)} filters of {view.layer}. "
        "Right: per cent of the kept filters that both criteria keep; two random selections would have "
        f"{formats.percent(view.kept / len(view.order))} in common."
    )


def score_table(view: LayerView) -> None:
    """The selected filter's score and rank by every criterion."""
    st.markdown(f"**Filter {view.selected} by every criterion**")
    placeholder = st.empty()
    placeholder.skeleton(height=_TABLE_PX)
    rows = []
    for name, scores in _all_scores(view, placeholder).items():
        rank = int(ranks(scores)[view.selected])
        fate = "kept" if rank <= view.kept else "removed"
        rows.append((name, float(scores[view.selected]), rank, fate))
    with placeholder.container():
        st.dataframe(
            pd.DataFrame(rows, columns=["Criterion", "Importance", "Rank", "Fate"]),
            hide_index=True,
            height=38 + 35 * len(rows),
            column_config={
                "Criterion": st.column_config.TextColumn(pinned=True),
                "Importance": st.column_config.NumberColumn(
                    format="%.3g", width="small", help="Relative to the layer's most important filter."
                ),
                "Rank": st.column_config.NumberColumn(
                    width="small", help=f"Of {len(view.order)}; 1 is the most important."
                ),
                "Fate": st.column_config.TextColumn(f"At {view.settings.cut}", width="small"),
            },
            alt=f"Scores and ranks of filter {view.selected} by every criterion",
        )


def _all_scores(view: LayerView, placeholder: DeltaGenerator) -> dict[str, np.ndarray]:
    """The layer's scores by every criterion; progress is shown in ``placeholder``."""

    time_left = TimeLeft()

    def on_step(done: int, total: int, criterion: str) -> None:
        time_left.update(done, total)
        doing = f"Scoring by {criterion} ({done + 1} of {total})"
        placeholder.progress(done / total, text=formats.progress(doing, time_left.seconds()))

    return get_server().all_scores(view.network, view.layer, on_step)


def _most_and_least_alike(chosen: str, names: Sequence[str], correlations: np.ndarray) -> str:
    row = names.index(chosen)
    others = np.where(np.arange(len(names)) == row, np.nan, correlations[row])
    if np.isnan(others).all():
        return f"**{chosen}** gives all filters of this layer the same score: it ranks nothing here."
    most, least = int(np.nanargmax(others)), int(np.nanargmin(others))
    return (
        f"**{chosen}** ranks these filters most like **{names[most]}** ({formats.correlation(others[most])}) and least like "
        f"**{names[least]}** ({formats.correlation(others[least])})."
    )


def _matrix(key: str, values: np.ndarray, names: Sequence[str], form: formats.Form, chosen: str) -> None:
    st.plotly_chart(
        agreement_charts.matrix(values, names, form=form, chosen=chosen, palette=palette()),
        config=CONFIG,
        key=key,
        alt="; ".join(
            f"{names[row]} and {names[column]} {form(values[row, column])}"
            for row in range(len(names))
            for column in range(row)
        ),
    )
