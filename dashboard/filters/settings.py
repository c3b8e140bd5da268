"""The settings of the Filters page and the selected filter; each is part of the page's address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.models.cnn import LAYERS
from core.pruning.criteria import CRITERIA
from dashboard import formats
from dashboard.widgets import network_select

LAYER = "C7"
"""The page opens with the first layer that E-PANNs prunes, whose feature maps still have eight frequency bands."""

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
    with st.grid(3, min_column_width=220, gap="medium"):
        network = network_select.choose_network()
        criterion = st.selectbox(
            "Ranked by",
            list(CRITERIA),
            key="ranked_by",
            bind="query-params",
            persist_state="session",
            help="\n".join(f"- **{entry.name}**: {entry.about}" for entry in CRITERIA.values()),
        )
        percent = st.slider(
            "Share of filters to remove",
            0,
            95,
            50,
            5,
            format=f"%d{formats.NBSP}%%",
            key="cut",
            bind="query-params",
            persist_state="session",
            help="Filters are ranked within their layer; this share of them, the lowest-ranked, is marked as removed. "
            "This page only shows them: pruning is done on the Prune page.",
        )
    layer = st.segmented_control(
        "Layer",
        LAYERS,
        default=LAYER,
        required=True,
        key="layer",
        bind="query-params",
        persist_state="session",
        help="The network's twelve convolutions, first to last. E-PANNs prunes C7 to C12.",
    )
    return FilterSettings(network, str(layer or LAYER), str(criterion), int(percent) / 100)


def choose_part() -> str:
    """Draw the choice of the page's part; only the chosen one is computed and drawn."""
    part = st.segmented_control(
        "What to look at",
        PARTS,
        default=PARTS[0],
        required=True,
        key="part",
        bind="query-params",
        persist_state="session",
        label_visibility="collapsed",
    )
    return str(part or PARTS[0])


def selected_filter(order: Sequence[int], kept: int) -> int:
    """The selected filter; the last kept one where none is selected, or the layer has no such filter."""
    index = st.session_state.get("filter")
    if index is None and "filter" not in st.session_state:
        text = st.query_params.get("filter", "")
        index = int(text) if text.isdecimal() and len(text) < 6 else None
    if index is None or not 0 <= int(index) < len(order):
        index = order[kept - 1]
    st.session_state["filter"] = int(index)
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
