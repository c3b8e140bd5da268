"""The Filters page's sections on one ranking: sorted importance, the filters as tiles, and the selected filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from core.pruning.ranking import largest_channels, neighbours
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.filters import charts, settings
from dashboard.filters.tiles import Tile, tile_page
from dashboard.filters.view import LayerView
from dashboard.server.server import get_server
from dashboard.widgets.choice import choose_one
from dashboard.widgets.theme import palette

_TILE_KERNELS = 4
_SELECTED_KERNELS = 16
_NEIGHBORS = 5
_TILES_PX = 620
_SELECTED_PX = 480


def ranking(view: LayerView) -> None:
    """Sorted importance and its histogram; a click selects a filter."""
    targets = charts.targets(view.order)
    st.plotly_chart(
        charts.importance(view.scores, view.order, view.kept, view.selected, palette=palette()),
        config=CONFIG,
        key="ranking",
        on_select=lambda: settings.select_clicked("ranking", targets),
        selection_mode="points",
        alt=f"Importance of the {len(view.order)} filters of {view.layer} by {view.settings.criterion}, sorted: "
        f"{view.kept} are kept. Beside it a histogram of importance.",
    )
    st.caption(
        f"Every filter of {view.layer} by {view.settings.criterion}, relative to the most important one; right: histogram. "
        "Filters left of the dotted line are kept, those right of it removed. Click to select a filter."
    )


def tiles(view: LayerView) -> None:
    """One page of the layer's filters as small kernels."""
    sort = choose_one("Sorted by", "sorted", {sort: sort for sort in settings.SORTS}, settings.SORTS[0])
    ordered = view.order if sort != "number" else sorted(view.order)
    chart = st.container()
    on_page = settings.choose_page(
        ordered, view.selected, f"{view.network}-{view.layer}-{view.settings.criterion}-{sort}"
    )
    weight = get_server().weight(view.network, view.layer)
    with chart:
        tiles_of = {index: _tile(view, weight, index, str(index)) for index in on_page}
        _tile_chart("tiles", view, tiles_of, columns=8, width_px=_TILES_PX)
    kernels = min(_TILE_KERNELS, weight.shape[1])
    shown = "its only kernel" if kernels == 1 else f"its {kernels} largest kernels of {weight.shape[1]}"
    st.markdown(
        f":small[:gray[Each tile is a filter: {shown},] :orange[**orange**] :gray[where it is kept and **grey** where it is removed; "
        "lighter weights are positive, darker ones negative, on each filter's own scale. Click a tile to select its filter.]]"
    )


def selected_filter(view: LayerView) -> None:
    """The selected filter: its rank, its kernels and its nearest neighbours."""
    weight = get_server().weight(view.network, view.layer)
    _choose_filter(view)
    _kernels(view, weight)
    _neighbors(view, weight)


def _choose_filter(view: LayerView) -> None:
    fate = ":orange-badge[kept]" if view.is_kept(view.selected) else ":gray-badge[removed]"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.number_input(
            f"Filter of {view.layer}",
            0,
            len(view.order) - 1,
            step=1,
            key="filter",
            persist_state="session",
            width=150,
            help="Filters are counted from 0, in the order of the checkpoint.",
        )
        st.markdown(
            f"rank **{formats.whole(view.rank(view.selected))}** of {formats.whole(len(view.order))} {fate}",
            width="content",
        )


def _kernels(view: LayerView, weight: np.ndarray) -> None:
    filter_weight = weight[view.selected]
    kernels = [
        Tile(
            filter_weight[channel][None],
            str(channel),
            f"input channel {channel}<br>length {np.linalg.norm(filter_weight[channel]):.3g}",
            view.is_kept(view.selected),
        )
        for channel in largest_channels(filter_weight, _SELECTED_KERNELS).tolist()
    ]
    st.plotly_chart(
        tile_page(kernels, columns=8, palette=palette(), width_px=_SELECTED_PX),
        width=_SELECTED_PX,
        config=CONFIG,
        key="kernels",
        alt=f"The largest kernels of filter {view.selected} of {view.layer}.",
    )
    st.caption(
        f"Its {formats.plural(len(kernels), 'largest kernel')} of {weight.shape[1]}, labelled with their input channels."
        if len(kernels) > 1
        else f"Its only kernel: {view.layer} has one input channel."
    )


def _neighbors(view: LayerView, weight: np.ndarray) -> None:
    nearest = neighbours(get_server().prototypes(view.network, view.layer), view.selected, _NEIGHBORS)
    if not nearest:
        return
    st.markdown(
        "**Nearest neighbours**",
        help="By the similarity criterion: each filter is represented by the common direction of its kernels, and the distance "
        "is 1 minus the cosine between two of these directions: 0 the same, 1 orthogonal, 2 opposite.",
    )
    tiles_of = {index: _tile(view, weight, index, f"{index} · {distance:.2f}") for index, distance in nearest}
    _tile_chart("neighbours", view, tiles_of, columns=_NEIGHBORS, width_px=_SELECTED_PX)
    st.caption("Number and distance, 0 to 2. Click a tile to select its filter.")


def _tile(view: LayerView, weight: np.ndarray, index: int, label: str) -> Tile:
    fate = "kept" if view.is_kept(index) else "removed"
    return Tile(
        weight[index, largest_channels(weight[index], _TILE_KERNELS)],
        label,
        f"<b>filter {index}</b><br>rank {view.rank(index)} of {len(view.order)}, {fate}<br>"
        f"importance {view.scores[index]:.3g}",
        view.is_kept(index),
        index == view.selected,
    )


def _tile_chart(key: str, view: LayerView, tiles_of: dict[int, Tile], *, columns: int, width_px: int) -> None:
    filters: Sequence[int] = list(tiles_of)
    st.plotly_chart(
        tile_page(list(tiles_of.values()), columns=columns, palette=palette(), width_px=width_px),
        width=width_px,
        config=CONFIG,
        key=key,
        on_select=lambda: settings.select_clicked(key, filters),
        selection_mode="points",
        alt=f"Kernels of the filters {', '.join(map(str, filters))} of {view.layer}; "
        f"kept: {sum(map(view.is_kept, filters))}.",
    )
