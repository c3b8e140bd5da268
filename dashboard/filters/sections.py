"""The Filters page's parts: the ranking, the tiles and the picked filter, how criteria agree, and whether order matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.pruning.ranking import kept_in_common, largest_channels, neighbours, rank_correlations, ranks
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.filters import agreement_charts, charts, settings
from dashboard.filters.settings import FilterSettings
from dashboard.filters.tiles import Tile, tile_page
from dashboard.server.filters import OnStep
from dashboard.server.server import get_server
from dashboard.widgets.theme import palette

_KERNELS_A_TILE = 4
_KERNELS_PICKED = 16
_NEIGHBOURS = 5
_TILES_PX = 620


@dataclass(frozen=True, eq=False)
class View:
    """One layer, ranked: what every part of the page starts from.

    Attributes
    ----------
    chosen : the settings.
    scores : (filters,) by the chosen criterion.
    order : the filters, most important first.
    kept : how many of them stay.
    index : the filter that is looked at.
    """

    chosen: FilterSettings
    scores: np.ndarray
    order: list[int]
    kept: int
    index: int

    def stays(self, index: int) -> bool:
        """Whether a filter is on the kept side of the cut."""
        return self.order.index(index) < self.kept


def answer(view: View) -> str:
    """The page's first sentence."""
    layer, count = view.chosen.layer, len(view.order)
    if view.kept == count:
        return f"All {formats.whole(count)} filters of {layer} stay"
    lost = float(view.scores[view.order[view.kept :]].sum() / view.scores.sum())
    return (
        f"{layer} keeps {formats.whole(view.kept)} of {formats.whole(count)} filters · "
        f"those that go have {formats.percent(lost)} of all importance"
    )


def ranking(view: View) -> None:
    """Sorted importance and its histogram; a click picks a filter."""
    shown = charts.targets(view.order)
    st.plotly_chart(
        charts.importance(view.scores, view.order, view.kept, view.index, palette=palette()),
        config=CONFIG,
        key="ranking",
        on_select=lambda: settings.select_clicked("ranking", shown),
        selection_mode="points",
        alt=f"Importance of the {len(view.order)} filters of {view.chosen.layer} by {view.chosen.criterion}, sorted: "
        f"{view.kept} stay. Beside it how many filters have which importance.",
    )
    st.caption(
        f"Every filter of {view.chosen.layer} by {view.chosen.criterion}, relative to the strongest, and to the right how "
        "many have which importance. Left of the dotted line stays, right of it goes. Click to look at a filter."
    )


def tiles(view: View) -> None:
    """One page of the layer's filters as small kernels."""
    by = st.segmented_control(
        "Sorted by",
        settings.SORTS,
        default=settings.SORTS[0],
        required=True,
        key="sorted",
        bind="query-params",
        persist_state="session",
    )
    shown = view.order if by != "number" else sorted(view.order)
    pictures = st.container()
    on_page = settings.choose_page(
        shown, view.index, f"{view.chosen.network}-{view.chosen.layer}-{view.chosen.criterion}-{by}"
    )
    weight = get_server().weight(view.chosen.network, view.chosen.layer)
    with pictures:
        _tile_chart(
            "tiles",
            view,
            [(each, _tile(view, weight, each)) for each in on_page],
            columns=8,
            width_px=_TILES_PX,
        )
    kernels = min(_KERNELS_A_TILE, weight.shape[1])
    st.caption(
        f"Each tile is a filter: {'its only kernel' if kernels == 1 else f'its {kernels} largest kernels of {weight.shape[1]}'}, "
        ":orange[**orange**] where it stays and :gray[**grey**] where it goes; lighter weights are positive, darker ones "
        "negative, on each filter's own scale. Click one to look at it."
    )


def picked(view: View) -> None:
    """The picked filter: where it stands, its kernels and its nearest neighbours."""
    layer, index = view.chosen.layer, view.index
    weight = get_server().weight(view.chosen.network, layer)
    rank = view.order.index(index) + 1
    fate = ":orange-badge[stays]" if view.stays(index) else ":gray-badge[goes]"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.number_input(
            f"Filter of {layer}",
            0,
            len(view.order) - 1,
            value=None,  # so that the address names filter 0 too, which would be the default else
            step=1,
            key="filter",
            bind="query-params",
            persist_state="session",
            width=150,
            help="Filters are counted from 0, in the order of the file.",
        )
        st.markdown(
            f"rank **{formats.whole(rank)}** of {formats.whole(len(view.order))} {fate}", width="content"
        )
    channels = largest_channels(weight[index], _KERNELS_PICKED)
    kernels = [
        Tile(
            weight[index, channel][None],
            str(channel),
            f"input channel {channel}<br>length {np.linalg.norm(weight[index, channel]):.3g}",
            view.stays(index),
        )
        for channel in channels.tolist()
    ]
    st.plotly_chart(
        tile_page(kernels, columns=8, palette=palette(), width_px=480),
        width=480,
        config=CONFIG,
        key="kernels",
        alt=f"The largest kernels of filter {index} of {layer}.",
    )
    st.caption(
        f"Its {formats.plural(len(kernels), 'largest kernel')} of {weight.shape[1]}, with the input channel that each listens to."
        if len(kernels) > 1
        else "Its only kernel: C1 listens to one channel, the spectrogram."
    )
    near = neighbours(get_server().prototypes(view.chosen.network, layer), index, _NEIGHBOURS)
    if near:
        st.markdown(
            "**Nearest neighbours**",
            help="By the similarity criterion: each filter is stood for by the direction that its kernels have in common, "
            "and the distance is 1 minus the cosine between two of them: 0 the same, 1 unrelated, 2 opposed.",
        )
        _tile_chart(
            "neighbours",
            view,
            [(each, _tile(view, weight, each, f"{each} · {gap:.2f}")) for each, gap in near],
            columns=_NEIGHBOURS,
            width_px=480,
        )
        st.caption("Number and distance, 0 to 2. Click one to go to it.")


def score_table(view: View) -> None:
    """The picked filter by every criterion, filled in as soon as they are there."""
    st.markdown(f"**Filter {view.index} by every criterion**")
    place = st.empty()
    with place.container():
        st.skeleton(height=353)
    every = get_server().all_scores(view.chosen.network, view.chosen.layer, _teller(place, "Scoring by"))
    rows = []
    for name, scores in every.items():
        rank = int(ranks(scores)[view.index])
        rows.append((name, float(scores[view.index]), rank, "stays" if rank <= view.kept else "goes"))
    with place.container():
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
                "Fate": st.column_config.TextColumn(f"At {view.chosen.cut}", width="small"),
            },
            alt=f"Scores and ranks of filter {view.index} by every criterion",
        )


def criteria(view: View) -> None:
    """How far the criteria agree on this layer: on the order, and on what stays."""
    place = st.empty()
    every = get_server().all_scores(view.chosen.network, view.chosen.layer, _teller(place, "Scoring by"))
    place.empty()
    names, chosen = list(every), view.chosen.criterion
    orders, common = rank_correlations(every), kept_in_common(every, view.chosen.ratio)
    st.markdown(_agreement_told(chosen, names, orders))
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(
            "**Rank correlation**",
            help="Spearman's: 1 where two criteria rank all filters alike, 0 where their orders have nothing in common, "
            "−1 where one is the reverse of the other.",
        )
        _matrix(
            "correlations",
            orders,
            names,
            formats.correlation,
            chosen,
        )
    with right:
        st.markdown(
            f"**Kept by both at {view.chosen.cut}**",
            help="Of the filters that one criterion keeps, the per cent that the other keeps too.",
        )
        _matrix("common", common, names, lambda value: f"{100 * value:.0f}", chosen)
    st.caption(
        f"Columns are numbered as the rows are. Left: do two criteria rank the {len(view.order)} filters of "
        f"{view.chosen.layer} alike? Right: per cent of the kept filters on which they agree; two draws of lots would agree "
        f"on {formats.percent(view.kept / len(view.order))}."
    )


def _agreement_told(chosen: str, names: Sequence[str], orders: np.ndarray) -> str:
    own = np.where(np.arange(len(names)) == names.index(chosen), np.nan, orders[names.index(chosen)])
    if np.isnan(own).all():
        return f"**{chosen}** gives all filters of this layer the same score: it ranks nothing here."
    most, least = int(np.nanargmax(own)), int(np.nanargmin(own))
    figures = [formats.correlation(float(own[at])) for at in (most, least)]
    return (
        f"**{chosen}** ranks these filters most like **{names[most]}** ({figures[0]}) and least like "
        f"**{names[least]}** ({figures[1]})."
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


def _tile(view: View, weight: np.ndarray, index: int, name: str | None = None) -> Tile:
    rank = view.order.index(index) + 1
    fate = "stays" if rank <= view.kept else "goes"
    return Tile(
        weight[index, largest_channels(weight[index], _KERNELS_A_TILE)],
        name or str(index),
        f"<b>filter {index}</b><br>rank {rank} of {len(view.order)}, {fate}<br>importance {view.scores[index]:.3g}",
        rank <= view.kept,
        index == view.index,
    )


def _tile_chart(
    key: str, view: View, shown: Sequence[tuple[int, Tile]], *, columns: int, width_px: int
) -> None:
    filters = [index for index, _ in shown]
    st.plotly_chart(
        tile_page([tile for _, tile in shown], columns=columns, palette=palette(), width_px=width_px),
        width=width_px,
        config=CONFIG,
        key=key,
        on_select=lambda: settings.select_clicked(key, filters),
        selection_mode="points",
        alt=f"Kernels of the filters {', '.join(map(str, filters))} of {view.chosen.layer}; "
        f"{sum(tile.kept for _, tile in shown)} of them stay.",
    )


def _teller(place: DeltaGenerator, what: str) -> OnStep:
    def tell(done: int, number: int, item: str) -> None:
        place.progress(done / number, text=f"{what} {item} ({done + 1} of {number})")

    return tell
