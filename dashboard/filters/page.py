"""Filters: which of a layer's filters go, what they look like, and how sure the ranking is."""

from __future__ import annotations

import streamlit as st

from core.errors import PannscopeError
from core.models.widths import kept_count
from core.pruning.ranking import ranks
from dashboard import formats
from dashboard.filters import parts, sections, settings
from dashboard.filters.sections import View
from dashboard.server.server import get_server

_ABOUT = """
A convolution's filter is a stack of small kernels, three by three weights each, one for every channel of the layer before. It
slides over time and frequency and responds where the sound looks like its weights. Pruning removes whole filters: their
weights, what they hand on, and the part of the next layer that listened to them.

A criterion ranks the filters of one layer by their weights alone, no sound is involved. The filters that rank last go. What
a ranking is worth is another matter: the parts *Criteria* and *Order* show how far criteria agree, and how much of the
published one depends on the order in which a file holds its filters.

A filter's feature map is what it makes of a sound. Deeper layers see less of time and frequency, since the network halves
both five times on its way.
"""


def page() -> None:
    """Read the widgets, ask ``core``, draw."""
    st.title("Look at the filters that go", anchor=False)
    chosen = settings.choose()
    try:
        _layer(_view(chosen))
    except PannscopeError as error:
        st.error(formats.escaped(str(error)), icon=":material/error:")
    with st.expander("What am I looking at?", icon=":material/help:"):
        st.markdown(_ABOUT)


def _view(chosen: settings.FilterSettings) -> View:
    server, place = get_server(), st.empty()

    def on_wait(ahead: int) -> None:
        place.caption(f"Somebody else's job is running: {formats.plural(ahead, 'turn')} before yours.")

    if not server.has_scores(chosen.network, chosen.layer, chosen.criterion):
        with place.container():
            st.skeleton(height=360)
    scores = server.scores(chosen.network, chosen.layer, chosen.criterion, on_wait)
    place.empty()
    order = ranks(scores).argsort().tolist()
    kept = kept_count(len(order), chosen.ratio)
    return View(chosen, scores, order, kept, settings.selected_filter(order, kept))


def _layer(view: View) -> None:
    st.subheader(sections.answer(view), anchor=False)
    sections.ranking(view)
    part = settings.choose_part()
    if part == "Criteria":
        sections.criteria(view)
    elif part == "Order":
        parts.order(view)
    else:
        _filters(view)


def _filters(view: View) -> None:
    left, right = st.columns([6, 5], gap="large")
    with left:
        sections.tiles(view)
    with right:
        sections.picked(view)
    left, right = st.columns([6, 5], gap="large")
    with left:
        parts.feature_map(view)
    with right:
        sections.score_table(view)


page()
