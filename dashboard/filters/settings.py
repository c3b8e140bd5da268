"""The settings of the Filters page and the selected filter; each is part of the page's address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.pruning.criteria import CRITERIA
from dashboard import formats
from dashboard.server.server import get_server
from dashboard.widgets import network_select, query_params
from dashboard.widgets.choice import choose_one

CUT = 50
HIGHEST = 99

PER_PAGE = 40
"""Tiles on a page. With 32, a cut at half of the filters would always fall between two pages: widths are powers of two."""

PARTS = ("Filters", "Criteria", "Order")
SORTS = ("rank", "number")


@dataclass(frozen=True)
class FilterSettings:
    """The layer, its ranking and the cut.

    Attributes
    ----------
    network, layer, criterion : whose filters are ranked, and how.
    ratio : the share of the filters that are removed.
    """

    network: str
    layer: str
    criterion: str
    ratio: float

    @property
    def cut(self) -> str:
        """The ratio as text."""
        return formats.percent(self.ratio)


def choose() -> FilterSettings:
    """Draw the widgets and read them."""
    with st.grid(4, min_column_width=180, gap="medium", vertical_alignment="bottom"):
        network = network_select.choose_network()
        first = next(iter(CRITERIA))
        query_params.follow("ranked_by", query_params.named({name: name for name in CRITERIA}), first)
        criterion = st.selectbox(
            "Ranked by",
            list(CRITERIA),
            key="ranked_by",
            persist_state="session",
            help="\n".join(f"- **{entry.name}**: {entry.about}" for entry in CRITERIA.values()),
        )
        query_params.follow("cut", query_params.whole(0, HIGHEST), CUT)
        percent = st.slider(
            "Share of filters to remove",
            0,
            HIGHEST,
            format=f"%d{formats.NBSP}%%",
            key="cut",
            persist_state="session",
            help="Filters are ranked within their layer; this share of them, the lowest-ranked, is marked as removed. "
            "This page only shows them: pruning is done on the Prune page.",
        )
    query_params.keep("ranked_by", criterion, first)
    query_params.keep("cut", percent, CUT)
    structure = get_server().structure(network)
    shared = any(structure.coupled.values())
    layer = choose_one(
        "Layer",
        "layer",
        {name: name for name in structure.layers},
        structure.default_layers[0],
        help_text=f"The convolutions of {structure.title} whose filters can be removed, first to last."
        + (
            " Layers that share their filters are ranked together, under the name of the first."
            if shared
            else ""
        ),
    )
    if structure.coupled[layer]:
        st.caption(
            f"{layer} shares its filters with {', '.join(structure.coupled[layer])}, whose outputs are added to its own: their scores "
            "are summed, and they lose the same filters. The kernels shown are its own."
        )
    return FilterSettings(network, layer, criterion, percent / 100)


def choose_part() -> str:
    """Draw the choice of the page's part; only the chosen one is computed and drawn."""
    return choose_one(
        "What to look at", "part", {part: part for part in PARTS}, PARTS[0], label_visibility="collapsed"
    )


def selected_filter(order: Sequence[int], kept: int) -> int:
    """The selected filter; the last kept one where none is selected, or the layer has no such filter."""
    query_params.follow("filter", query_params.whole(0, 99_999), None)
    index = st.session_state["filter"]
    if index is None or not 0 <= int(index) < len(order):
        index = order[kept - 1]
    st.session_state["filter"] = int(index)
    query_params.keep("filter", int(index), None)
    return int(index)


def select_clicked(chart: str, filters: Sequence[int]) -> None:
    """Select the filter whose point of ``chart`` was clicked; the chart's points are ``filters`` in order.

    A second click on the same point arrives as an empty selection, because the browser then deselects it; the filter stays
    selected.
    """
    points = st.session_state[chart]["selection"]["points"]
    last_clicked: dict[str, int] = st.session_state.setdefault("clicked_points", {})
    point = int(points[0]["point_index"]) if points else last_clicked.get(chart)
    if point is not None and point < len(filters):
        last_clicked[chart] = point
        st.session_state["filter"] = filters[point]


def choose_page(shown: Sequence[int], index: int, view: str) -> list[int]:
    """Draw the choice among pages of tiles and return the filters of the chosen one.

    It opens at the page of filter ``index``; ``view`` is part of the widget's key, so that every layer has its own page.
    """
    pages = -(-len(shown) // PER_PAGE)
    page = 1
    if pages > 1:
        page = st.pagination(
            pages, default=list(shown).index(index) // PER_PAGE + 1, key=f"tiles_page-{view}-{index}"
        )
    return list(shown[(page - 1) * PER_PAGE : page * PER_PAGE])
