"""The Prune page's ways to the Filters page: from a layer of the picture, and from what is known of the criterion."""

from __future__ import annotations

import streamlit as st

from core.errors import PannscopeError
from dashboard.prune.cut import Cut
from dashboard.server.server import get_server
from dashboard.widgets import order_note
from dashboard.widgets.slots import Slot

_FILTERS = "filters/page.py"
_ORDER_RATIO = 0.5
"""That of E-PANNs, for the first pruned layer where the order matters: the same whatever the sliders say."""

_NOTE_PX = 45
_HIGHEST = 99  # per cent, of the Filters page's slider


def links(cut: Cut) -> None:
    """A link to the filters of each layer, ranked and cut as here."""
    st.caption("Look at the filters of a layer:")
    with st.container(horizontal=True, gap="xsmall"):
        for layer in cut.before.layers:
            st.page_link(
                _FILTERS,
                label=layer,
                query_params=_address(cut, layer, _percent(cut, layer)),
                width="content",
            )


def order_frame(cut: Cut) -> Slot | None:
    """The place of what is known of the published criterion; None where another is chosen."""
    return Slot("order", _NOTE_PX) if cut.settings.criterion == order_note.CRITERION else None


def order_finding(cut: Cut, slot: Slot) -> None:
    """How much the ranking depends on the order of the filters, with a link to all layers."""
    try:
        for layer in cut.before.default_layers:
            result = get_server().order_dependence(cut.name, layer, _ORDER_RATIO)
            if result.mean_stays <= order_note.ALL_STAY:
                break
        else:
            slot.clear()
            return
    except PannscopeError:
        slot.clear()  # the page has said why the network cannot be ranked
        return
    address = _address(cut, layer, round(100 * _ORDER_RATIO)) | {"part": "Order"}
    with slot.fill():
        left, right = st.columns(order_note.COLUMNS, vertical_alignment="center")
    left.caption(order_note.text(layer, _ORDER_RATIO, result))
    right.page_link(_FILTERS, label="Every layer", icon=order_note.ICON, query_params=address)


def _percent(cut: Cut, layer: str) -> int:
    """The share of a layer's filters that the cut removes, in whole per cent."""
    ratios = cut.settings.plan.ratios if cut.settings.plan else dict(cut.settings.ratios)
    return min(_HIGHEST, round(100 * ratios.get(layer, 0.0)))


def _address(cut: Cut, layer: str, percent: int) -> dict[str, str]:
    return {
        "network": cut.name,
        "layer": layer,
        "ranked_by": cut.settings.criterion,
        "cut": str(percent),
    }
