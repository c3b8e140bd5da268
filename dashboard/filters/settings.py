"""The knobs of the Filters page; each is part of the page's address. And which filter is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.models.cnn import LAYERS
from core.pruning.criteria import CRITERIA
from dashboard import formats
from dashboard.widgets import network_select

LAYER = "C7"
"""Where the page opens: the first layer that E-PANNs prunes, whose maps still tell eight bands of frequency apart."""

PER_PAGE = 40
"""Tiles on a page: with 32, the cut at a half would always fall between two pages, since widths are powers of two."""

PARTS = ("Filters", "Criteria", "Order")
SORTS = ("rank", "number")


@dataclass(frozen=True)
class FilterSettings:
    """What to look at.

    Attributes
    ----------
    network, layer, criterion : whose filters, and what ranks them.
    ratio : the share of the filters that go.
    """

    network: str
    layer: str
    criterion: str
    ratio: float

    @property
    def cut(self) -> str:
        """The ratio as it is shown."""
        return formats.percent(self.ratio)


def choose() -> FilterSettings:
    """Draw the knobs and read them."""
    with st.grid(3, min_column_width=220, gap="medium"):
        network = network_select.choose_network()
        criterion = st.selectbox(
            "Ranked by",
            list(CRITERIA),
            key="ranked_by",
            bind="query-params",
            persist_state="session",
            help="\n".join(f"- **{each.name}**: {each.about}" for each in CRITERIA.values()),
        )
        percent = st.slider(
            "Share of the layer that goes",
            0,
            95,
            50,
            5,
            format=f"%d{formats.NBSP}%%",
            key="cut",
            bind="query-params",
            persist_state="session",
            help="Filters are ranked within their layer; this share of them, those that rank last, is marked as going. "
            "Nothing is removed on this page.",
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
    """Which of the page's parts is open: only that one is computed and drawn."""
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


def picked(order: Sequence[int], kept: int) -> int:
    """The filter that is looked at: the picked one, or the last that stays where the layer has no such filter."""
    asked = st.session_state.get("filter")
    if asked is None and "filter" not in st.session_state:
        text = st.query_params.get("filter", "")
        asked = int(text) if text.isdecimal() and len(text) < 6 else None
    if asked is None or not 0 <= int(asked) < len(order):
        asked = order[kept - 1]
    st.session_state["filter"] = int(asked)
    return int(asked)


def pick(index: int) -> None:
    """Look at this filter from the next run on."""
    st.session_state["filter"] = index


def clicked(chart: str, filters: Sequence[int]) -> None:
    """A chart was clicked whose points stand for ``filters``: pick the one that was hit.

    A second click on the same point comes as an empty selection, since the browser then lets go of it; it picks the point
    again.
    """
    points = st.session_state[chart]["selection"]["points"]
    memory: dict[str, int] = st.session_state.setdefault("clicked_points", {})
    number = int(points[0]["point_index"]) if points else memory.get(chart)
    if number is not None and number < len(filters):
        memory[chart] = number
        pick(filters[number])


def choose_page(shown: Sequence[int], index: int, view: str) -> list[int]:
    """Draw the choice among pages of tiles and give the filters of the chosen one.

    It opens at the picked filter's page; ``view`` names what is shown, so that another layer opens at its own.
    """
    pages = -(-len(shown) // PER_PAGE)
    page = 1
    if pages > 1:
        page = st.pagination(
            pages, default=list(shown).index(index) // PER_PAGE + 1, key=f"tiles_page-{view}-{index}"
        )
    return list(shown[(page - 1) * PER_PAGE : page * PER_PAGE])
