"""Filters: which of a layer's filters pruning removes, what they look like, and how reliable the ranking is."""

from __future__ import annotations

import streamlit as st

from core.errors import PannscopeError
from core.models.widths import kept_count
from core.pruning.ranking import ranks
from dashboard import formats
from dashboard.filters import criteria, feature_map, order, rank_table, sections, settings
from dashboard.filters.view import LayerView
from dashboard.server.server import get_server

_ABOUT = """
A convolution's filter is a stack of small kernels, one for every channel of the layer before. It
slides over time and frequency and responds where its input resembles its weights. Pruning removes whole filters: their
weights, their output channels, and the corresponding input channels of the next layer.

A criterion ranks the filters of one layer by their weights alone; no audio is involved. The lowest-ranked filters are removed.
How reliable a ranking is, is another question: the parts *Criteria* and *Order* show how far criteria agree, and how much the
published one depends on the order in which a checkpoint stores its filters.

A filter's feature map is its output for a clip. Deeper layers have a lower resolution in time and frequency, since the network
pools both.
"""

_WORDS = (
    "A network's layers are convolutions, from its input to its output. Each has many filters; a "
    "criterion ranks them, and pruning removes the lowest-ranked."
)


def page() -> None:
    """Read the widgets, ask ``core``, draw."""
    st.title("Look at the filters that pruning removes", anchor=False)
    st.caption(_WORDS)
    try:
        _layer(_view(settings.choose()))
    except PannscopeError as error:
        st.error(formats.escaped(str(error)), icon=":material/error:")
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT)


def _view(chosen: settings.FilterSettings) -> LayerView:
    server, placeholder = get_server(), st.empty()
    if not server.has_scores(chosen.network, chosen.layer, chosen.criterion):
        placeholder.skeleton(height=360)
    scores = server.scores(
        chosen.network,
        chosen.layer,
        chosen.criterion,
        lambda ahead: placeholder.caption(formats.waiting(ahead)),
    )
    placeholder.empty()
    ranked = ranks(scores).argsort().tolist()
    kept = kept_count(len(ranked), chosen.ratio)
    return LayerView(chosen, scores, ranked, kept, settings.selected_filter(ranked, kept))


def _layer(view: LayerView) -> None:
    order.note(view)
    st.header(view.headline(), anchor=False)
    sections.ranking(view)
    rank_table.downloads(view)
    part = settings.choose_part()
    if part == "Criteria":
        criteria.agreement(view)
    elif part == "Order":
        order.dependence(view)
    else:
        _filters(view)


def _filters(view: LayerView) -> None:
    left, right = st.columns([6, 5], gap="large")
    with left:
        sections.tiles(view)
    with right:
        sections.selected_filter(view)
    left, right = st.columns([6, 5], gap="large")
    with left:
        feature_map.feature_map(view)
    with right:
        criteria.score_table(view)


page()
